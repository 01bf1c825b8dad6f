"""What is printed: tables that say what they must, and names that cannot steer the terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from harness.cli.terminal import COLUMNS, print_outcome, print_summary, printable, seed_table, summary_table
from harness.execution.monitor import CLAIMED, DONE, FAILED, OK, Outcome

SETTINGS = {
    "protocol": "paper", "preprocessing.resize": (256, 256), "preprocessing.center_crop": (224, 224),
    "model.n_features": 100, "model.index_sampler": "anomalib_v1", "model.epsilon": 0.01, "dataset.limit": None,
}  # fmt: skip


def set_to(**changes) -> dict:
    return {**SETTINGS, **{key.replace("__", "."): value for key, value in changes.items()}}


def outcome(seed=42, value=0.9, **changes) -> Outcome:
    fields = {
        "dataset": "mvtec", "category": "bottle", "model": "padim", "backbone": "resnet18", "seed": seed,
        "settings": SETTINGS,
        "key": "0" * 12, "status": OK, "metrics": dict.fromkeys(COLUMNS, value),
    }  # fmt: skip
    return Outcome(**(fields | changes))


def text_of(table) -> str:
    stream = io.StringIO()
    Console(file=stream, width=200).print(table)
    return stream.getvalue()


def starts(table, n: int) -> list[list[str]]:
    """The first cells of the header and of each row of means, after dataset, category, model and backbone."""
    lines = text_of(table).splitlines()
    heads = [line for line in lines if line.startswith("dataset")]
    return [line.split()[4 : 4 + n] for line in [*heads, *(line for line in lines if " mean " in line)]]


def test_a_table_has_a_row_for_each_run_and_a_dash_for_what_is_not_there():
    text = text_of(summary_table([outcome(), outcome(status=FAILED, metrics={}, category="cable")]))
    assert text.count("0.9000") == len(COLUMNS)
    assert "failed" in text
    assert text.splitlines()[-1].split()[-1] == "-"
    assert "SYNTHETIC" not in text
    assert "SYNTHETIC" in text_of(summary_table([outcome(synthetic=True)]))


def test_means_and_ranges_are_over_the_seeds_of_one_category():
    runs = [
        outcome(0, 0.8),
        outcome(1, 1.0, status=DONE),
        outcome(2, metrics={}, status=FAILED),
        outcome(0, 0.1, category="x"),
    ]
    table = seed_table(runs)
    assert table.row_count == 3
    lines = [line.split() for line in text_of(table).splitlines()[-3:]]
    assert lines[0][:5] == ["mvtec", "bottle", "padim", "resnet18", "2"]
    assert [line[-1] for line in lines] == ["0.9000", "0.8000", "1.0000"]
    assert seed_table([outcome(), outcome(category="cable")]).row_count == 0


def test_aupros_limit_stands_over_it_where_there_is_one():
    def heading(*limits: float) -> str:
        runs = [outcome(settings=set_to(metrics__aupro_fpr_limit=limit)) for limit in limits]
        return text_of(summary_table(runs)).splitlines()[1]

    assert "@0.3" in heading(0.3, 0.3)
    assert "@" not in heading(0.1, 0.3)


def test_control_characters_and_markup_in_names_are_shown_as_they_are():
    assert printable("a\x1b[31mb\u202ec\n") == "a\\x1b[31mb\\x202ec\\x0a"
    text = text_of(summary_table([outcome(category="[red]x[/red]\x1b[2J")]))
    assert "[red]x[/red]\\x1b[2J" in text


def test_a_runs_own_line_says_what_tells_it_from_the_sweeps_others(capsys):
    run = outcome(0, settings=set_to(model__n_features=50, model__epsilon=1.0))
    print_outcome(run)
    print_outcome(run, ["model.n_features", "model.epsilon", "dataset.limit"])
    print_outcome(outcome(1, status=CLAIMED, holder="host, process 1"))
    alone, among_others, claimed = capsys.readouterr().out.splitlines()
    assert "seed 0  image AUROC" in alone
    assert "seed 0  n_features 50  epsilon 1.0  limit null  image AUROC" in among_others
    assert claimed.startswith("claimed mvtec/bottle padim-resnet18 seed 1  another sweep runs it (host, process 1)")


def test_a_failure_says_which_of_several_runs_it_is(capsys):
    print_summary([outcome(), outcome(settings=set_to(model__n_features=50), status=FAILED, metrics={}, error="no")])
    assert capsys.readouterr().err == "  mvtec/bottle padim-resnet18 seed 42 model.n_features=50: no\n"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([{"model__index_sampler": name} for name in ("v1", "v2")], [["index_sampler"], ["v1"], ["v2"]]),
        # nearly the same is not the same
        ([{"model__epsilon": epsilon} for epsilon in (0.01, 0.010000001)], [["epsilon"], ["0.01"], ["0.010000001"]]),
        (
            [{"model__epsilon": epsilon, "dataset__limit": limit} for epsilon, limit in ((1, None), (2, None), (2, 8))],
            [["epsilon", "limit"], ["1", "null"], ["2", "null"], ["2", "8"]],
        ),
        # a protocol stands for its fields, and hides nothing else
        (
            [{}, {"protocol": "v2", "model__epsilon": 0.02}, {"protocol": "v2", "model__epsilon": 1.0}],
            [["protocol", "epsilon"], ["paper", "0.01"], ["v2", "0.02"], ["v2", "1.0"]],
        ),
    ],
)
def test_only_runs_that_differ_in_nothing_but_the_seed_are_averaged(settings, expected):
    runs = [outcome(seed, i, settings=set_to(**one)) for i, one in enumerate(settings) for seed in (0, 1)]
    assert starts(seed_table(runs), len(expected[0])) == expected
    means = [line.split()[-1] for line in text_of(seed_table(runs)).splitlines() if " mean " in line]
    assert means == [f"{i:.4f}" for i in range(len(settings))]


def test_what_varies_has_a_column_and_nothing_else_has():
    runs = [outcome(), outcome(settings=set_to(model__n_features=50))]
    assert starts(summary_table(runs), 2) == [["n_features", "seed"]]
    assert starts(summary_table(runs[:1]), 1) == [["seed"]]
    other = outcome(category="cable", settings=set_to(model__epsilon=1.0))
    assert starts(summary_table([outcome(), other]), 1) == [["seed"]]


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_no_number_is_cut_at_any_width_and_what_is_left_out_is_named(capsys, monkeypatch, width):
    monkeypatch.setattr("harness.cli.terminal.PLAIN_WIDTH", width)
    print_summary([outcome(0, 0.25), outcome(1, 0.75)])
    shown, _, left_out = capsys.readouterr().out.partition("Over seeds")[0].partition("too narrow: ")
    n_left_out = sum(label.replace("\n", " ") in left_out for label in COLUMNS.values())
    assert "…" not in shown
    assert shown.count("0.2500") == len(COLUMNS) - n_left_out
    assert (n_left_out == 0) == (width == 200)
    assert max(map(len, shown.splitlines())) <= width
