"""What is printed: tables that say what they must, and names that cannot steer the terminal."""

from __future__ import annotations

import io

from rich.console import Console

from harness.outcome import DONE, FAILED, OK, Outcome, exit_status
from harness.terminal import COLUMNS, print_outcome, print_summary, printable, seed_table, summary_table

SETTINGS = {
    "protocol": "paper", "protocol.resize": (256, 256), "protocol.center_crop": (224, 224),
    "protocol.index_sampler": "anomalib_v1", "protocol.epsilon": 0.01, "inexact": None,
}  # fmt: skip


def set_to(**changes) -> dict:
    return {**SETTINGS, **{key.replace("__", "."): value for key, value in changes.items()}}


def outcome(seed=42, value=0.9, **changes) -> Outcome:
    fields = {
        "dataset": "mvtec", "category": "bottle", "backbone": "resnet18", "seed": seed, "n_features": 100,
        "settings": SETTINGS,
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


def test_aupros_limit_stands_over_it_where_there_is_one():
    def heading(*limits: float) -> str:
        runs = [outcome(settings=set_to(metrics__aupro_fpr_limit=limit)) for limit in limits]
        return " ".join(text_of(summary_table(runs, plain=True)).splitlines()[1].split()[-1:])

    assert heading(0.3, 0.3) == "@0.3"
    assert heading(0.05) == "@0.05"
    assert "@" not in text_of(summary_table([outcome(), outcome(seed=1)], plain=True))
    mixed = [outcome(settings=set_to(metrics__aupro_fpr_limit=limit)) for limit in (0.1, 0.3)]
    assert "@" not in text_of(summary_table(mixed, plain=True))


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


def test_a_runs_own_line_says_what_tells_it_from_the_sweeps_others(capsys):
    run = outcome(0, n_features=50, settings=set_to(protocol__epsilon=1.0))
    print_outcome(run)
    print_outcome(run, ["n_features", "protocol.epsilon", "inexact"])
    alone, among_others = capsys.readouterr().out.splitlines()
    assert "seed 0  image AUROC" in alone
    assert "seed 0  features 50  epsilon 1.0  inexact null  image AUROC" in among_others


def test_what_varies_besides_the_seed_has_a_column_and_nothing_else_has():
    runs = [
        outcome(0),
        outcome(0, n_features=50),
        outcome(0, n_features=50, settings=set_to(protocol__index_sampler="anomalib_v2")),
    ]
    header, *rows = text_of(summary_table(runs, plain=True)).splitlines()[1:]
    assert header.split()[:6] == ["dataset", "category", "backbone", "features", "sampler", "seed"]
    assert [row.split()[3:5] for row in rows] == [
        ["100", "anomalib_v1"],
        ["50", "anomalib_v1"],
        ["50", "anomalib_v2"],
    ]
    assert "features" not in text_of(summary_table(runs[:1], plain=True))


def test_runs_of_two_samplers_are_not_averaged():
    runs = [
        outcome(seed, value, settings=set_to(protocol__index_sampler=name))
        for name, value in (("v1", 0.5), ("v2", 0.9))
        for seed in (0, 1)
    ]
    text = text_of(seed_table(runs, plain=True))
    assert [line.split()[4:7] for line in text.splitlines() if " mean " in line] == [
        ["v1", "2", "mean"],
        ["v2", "2", "mean"],
    ]
    assert "0.7000" not in text


def test_a_failure_says_which_of_several_runs_it_is(capsys):
    print_summary([outcome(), outcome(n_features=50, status=FAILED, metrics={}, error="no")])
    assert capsys.readouterr().err == "  mvtec/bottle resnet18 seed 42 n_features=50: no\n"


def test_runs_of_any_two_settings_are_told_apart_and_not_averaged():
    runs = [
        outcome(seed, value, settings=set_to(protocol__epsilon=epsilon, inexact=inexact))
        for epsilon, inexact, value in ((0.01, None, 0.5), (1.0, None, 0.7), (1.0, "bf16", 0.9))
        for seed in (0, 1)
    ]
    text = text_of(seed_table(runs, plain=True))
    assert text.splitlines()[2].split()[4:6] == ["epsilon", "inexact"]
    assert [line.split()[4:8] for line in text.splitlines() if " mean " in line] == [
        ["0.01", "null", "2", "mean"], ["1.0", "null", "2", "mean"], ["1.0", "bf16", "2", "mean"]
    ]  # fmt: skip


def test_a_protocol_that_varies_stands_for_its_fields():
    other = set_to(protocol="anomalib_v2", protocol__index_sampler="anomalib_v2", protocol__epsilon=0.01001)
    header = text_of(summary_table([outcome(), outcome(settings=other)], plain=True)).splitlines()[1]
    assert header.split()[3:5] == ["protocol", "seed"]
    runs = [outcome(), outcome(settings=other), outcome(settings={**other, "protocol.epsilon": 1.0})]
    header = text_of(summary_table(runs, plain=True)).splitlines()[1]
    assert header.split()[3:6] == ["protocol", "epsilon", "seed"]


def test_settings_of_other_categories_are_nobodys_business():
    runs = [outcome(), outcome(category="cable", settings=set_to(protocol__epsilon=1.0))]
    assert "epsilon" not in text_of(summary_table(runs, plain=True))


def test_values_that_are_nearly_the_same_are_not():
    runs = [
        outcome(seed, value, settings=set_to(protocol__epsilon=epsilon))
        for epsilon, value in ((0.01, 0.5), (0.010000001, 0.9))
        for seed in (0, 1)
    ]
    assert [line.split()[4:7] for line in text_of(seed_table(runs, plain=True)).splitlines() if " mean " in line] == [
        ["0.01", "2", "mean"], ["0.010000001", "2", "mean"]
    ]  # fmt: skip


def test_seeds_of_one_setting_are_not_averaged_with_those_of_another():
    runs = [outcome(seed, 0.5 + seed / 10, settings=set_to(protocol__epsilon=seed // 2 + 0.5)) for seed in range(4)]
    lines = [line.split() for line in text_of(seed_table(runs, plain=True)).splitlines() if " mean " in line]
    assert [(line[4], line[-1]) for line in lines] == [("0.5", "0.5500"), ("1.5", "0.7500")]


def test_a_protocol_that_varies_hides_nothing_but_its_own_fields():
    other = set_to(protocol="anomalib_v2", protocol__epsilon=0.01001, inexact="bf16")
    header = text_of(summary_table([outcome(), outcome(n_features=550, settings=other)], plain=True)).splitlines()[1]
    assert header.split()[3:7] == ["features", "protocol", "inexact", "seed"]
