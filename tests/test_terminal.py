"""What is printed: tables that say what they must, and names that cannot steer the terminal."""

from __future__ import annotations

import io

from rich.console import Console

from harness.outcome import DONE, FAILED, OK, Outcome, exit_status
from harness.terminal import COLUMNS, printable, seed_table, summary_table


def outcome(seed=42, value=0.9, **changes) -> Outcome:
    fields = {
        "dataset": "mvtec", "category": "bottle", "backbone": "resnet18", "seed": seed, "n_features": 100,
        "index_sampler": "anomalib_v1",
        "key": "0" * 12, "status": OK, "metrics": dict.fromkeys(COLUMNS, value),
    }  # fmt: skip
    return Outcome(**(fields | changes))


def text_of(table) -> str:
    stream = io.StringIO()
    Console(file=stream, width=200).print(table)
    return stream.getvalue()


def test_a_table_has_a_row_for_each_run_and_a_dash_for_what_is_not_there():
    text = text_of(summary_table([outcome(), outcome(status=FAILED, metrics={}, category="cable")], plain=True))
    assert text.count("0.9000") == len(COLUMNS)
    assert "failed" in text
    assert text.splitlines()[-1].split()[-1] == "-"
    assert "SYNTHETIC" not in text
    assert "SYNTHETIC" in text_of(summary_table([outcome(synthetic=True)], plain=True))


def test_means_and_ranges_are_over_the_seeds_of_one_category():
    runs = [
        outcome(0, 0.8),
        outcome(1, 1.0, status=DONE),
        outcome(2, metrics={}, status=FAILED),
        outcome(0, 0.1, category="x"),
    ]
    table = seed_table(runs, plain=True)
    assert table.row_count == 3
    lines = [line.split() for line in text_of(table).splitlines()[-3:]]
    assert lines[0][:6] == ["mvtec", "bottle", "resnet18", "100", "2", "mean"]
    assert [line[-1] for line in lines] == ["0.9000", "0.8000", "1.0000"]


def test_one_seed_has_no_table_over_seeds():
    assert seed_table([outcome(), outcome(category="cable")], plain=True).row_count == 0


def test_control_characters_and_markup_in_names_are_shown_as_they_are():
    assert printable("a\x1b[31mb\u202ec\n") == "a\\x1b[31mb\\x202ec\\x0a"
    text = text_of(summary_table([outcome(category="[red]x[/red]\x1b[2J")], plain=True))
    assert "[red]x[/red]\\x1b[2J" in text


def test_the_exit_status_says_how_the_worst_run_ended():
    assert exit_status(()) == 0
    assert exit_status((outcome(), outcome(status=DONE))) == 0
    assert exit_status((outcome(), outcome(status=FAILED))) == 1
    assert exit_status((outcome(status=FAILED), outcome(status="refused"))) == 2
