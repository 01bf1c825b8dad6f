"""Two stores side by side: pairing, differences by cell, settings, environment, exit status."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_rel
from sklearn.metrics import roc_auc_score

from harness.metrics.comparison import delong_test
from harness.report.compare import blocks, compare_stores, pair_up
from harness.store import Interval, Store, failure_of
from harness.store.fields import settings_of
from harness.store.scores import ScoreTable
from scripts.compare import main
from tests.store.making import (
    VALUES,
    make_dataset,
    make_failed,
    make_metrics,
    make_ok,
    make_parts,
    make_scores,
    make_spec,
)

SPEC = {"category", "backbone", "dataset", "epsilon", "n_features", "fingerprint", "blur_sigma"}


def put(path, *, seed=42, values=None, shift=0.0, scores=None, **changes):
    """Write one ok run into the store at `path`."""
    spec = make_spec(seed=seed, **{key: changes.pop(key) for key in list(changes) if key in SPEC})
    table = scores or make_scores(shift)
    if "counts" in changes:
        changes["dataset"] = make_dataset(spec, n_test_normal=changes.pop("counts"))
    record = make_ok(spec, scores_sha256=table.sha256, metrics=make_metrics(VALUES | (values or {})), **changes)
    return Store(path).write(record, table)


def text_of(comparison):
    """What is shown, each run of spaces as one."""
    return re.sub(r" +", " ", "\n".join(blocks(comparison, "one", "two")))


@pytest.fixture
def stores(tmp_path):
    return tmp_path / "a", tmp_path / "b"


def test_equal_stores_are_the_same(stores):
    for store in stores:
        put(store, seed=1)
        put(store, seed=2, values={"pixel_auroc": 0.5})
    comparison = compare_stores(*stores)
    assert comparison.is_same
    assert len(comparison.pairs) == 2
    assert text_of(comparison).splitlines()[2:] == [
        "2 runs in both, 0 of them different", "", "the two stores are the same",
    ]  # fmt: skip


def test_a_metric_that_differs_is_shown_by_cell_with_its_largest_gap_and_seed(stores):
    for seed, gap in ((1, 0.0), (2, 0.01), (3, -0.04)):
        put(stores[0], seed=seed)
        put(stores[1], seed=seed, values={"pixel_auroc": VALUES["pixel_auroc"] + gap})
    comparison = compare_stores(*stores)
    assert not comparison.is_same
    a = VALUES["pixel_auroc"]
    assert f"pixel_auroc 2 of 3 {a:.6f} {a - 0.01:.6f} -0.040000 3" in text_of(comparison)


def test_cells_of_one_category_under_several_settings_stay_apart(stores):
    for sigma, gap in ((0, 0.1), (4, 0.2)):
        put(stores[0], blur_sigma=sigma)
        put(stores[1], blur_sigma=sigma, values={"pixel_auroc": VALUES["pixel_auroc"] - gap})
    found = re.findall(r"(model.blur_sigma=\d) pixel_auroc 1 of 1 \S+ \S+ (\S+)", text_of(compare_stores(*stores)))
    assert sorted(found) == [("model.blur_sigma=0", "-0.100000"), ("model.blur_sigma=4", "-0.200000")]


def test_a_tolerance_excuses_small_gaps_in_metrics_and_any_in_scores_of_the_same_images(stores):
    put(stores[0])
    put(stores[1], values={"image_auroc": VALUES["image_auroc"] - 1e-7}, shift=0.5)
    comparison = compare_stores(*stores)
    assert not comparison.is_same
    assert "image scores differ in 1 run, by at most 0.5" in text_of(comparison)
    assert compare_stores(*stores, tolerance=1e-6).is_same
    table = make_scores()
    put(stores[0], seed=7)
    put(stores[1], seed=7, scores=replace(table, paths=tuple(f"other/{i}.png" for i in range(len(table.paths)))))
    comparison = compare_stores(*stores, tolerance=1.0)
    assert not comparison.is_same
    assert "cannot be held side by side in 1 run" in text_of(comparison)


def test_scores_alone_make_a_difference(stores):
    put(stores[0])
    put(stores[1], shift=1e-3)
    assert not compare_stores(*stores).is_same


def test_two_protocols_are_paired_by_seed_and_the_settings_named(stores):
    for seed in (1, 2):
        put(stores[0], seed=seed)
        put(stores[1], seed=seed, epsilon=0.01001, protocol_name="anomalib_v2")
    comparison = compare_stores(*stores)
    assert len(comparison.pairs) == 2
    text = text_of(comparison)
    assert "protocol paper anomalib_v2 2" in text
    assert "model.epsilon 0.01 0.01001 2" in text
    assert not comparison.is_same, "equal numbers under other settings are not the same run"


def test_records_with_the_same_settings_are_paired_before_others():
    wanted = [make_ok(make_spec(blur_sigma=sigma)) for sigma in (0, 2, 4)]
    pairs, only = pair_up(wanted, [wanted[2], wanted[0], make_ok(make_spec(blur_sigma=8))])
    assert {(a.spec.model["blur_sigma"], b.spec.model["blur_sigma"]) for a, b in pairs} == {(0, 0), (4, 4), (2, 8)}
    assert only == ((), ())


def test_environment_is_shown_and_makes_no_difference(stores):
    put(stores[0])
    environment = make_parts()["environment"]
    put(stores[1], environment=environment.model_copy(update={"packages": {"torch": "9.9", "timm": "1.0.31"}}))
    comparison = compare_stores(*stores)
    assert comparison.is_same
    assert "packages.torch 2.15.0 9.9" in text_of(comparison)


def test_what_only_one_store_has_is_listed(stores):
    put(stores[0], seed=1)
    put(stores[0], seed=2)
    put(stores[1], seed=1)
    put(stores[1], category="cable")
    comparison = compare_stores(*stores)
    assert [record.spec.seed for record in comparison.only[0]] == [2]
    assert [record.spec.category for record in comparison.only[1]] == ["cable"]
    assert not comparison.is_same


def test_failed_against_ok_is_a_difference_and_has_no_number(stores):
    put(stores[0])
    Store(stores[1]).write(make_failed())
    comparison = compare_stores(*stores)
    assert not comparison.is_same
    text = text_of(comparison)
    assert "1 of 1 none none (1 in one only)" in text
    assert "nan" not in text.lower()


def test_damaged_records_and_missing_scores_are_named_and_deny_sameness(stores):
    for store in stores:
        put(store, seed=1)
        put(store, seed=2)
    broken = next(stores[1].glob("runs/*/*/*/seed2-*/record.json"))
    broken.write_text("{")
    comparison = compare_stores(*stores)
    assert not comparison.is_same
    assert f"not counted in B: {broken}" in text_of(comparison)
    next(stores[1].glob("runs/*/*/*/seed1-*/scores.csv")).unlink()
    assert len(compare_stores(*stores).problems[1]) == 2


def test_script_exit_statuses_and_one_line_errors(stores, tmp_path, capsys):
    put(stores[0])
    put(stores[1])
    assert main([*map(str, stores)]) == 0
    put(stores[1], seed=1)
    capsys.readouterr()
    assert main([*map(str, stores)]) == 1
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "only in B: 1 run" in printed.out
    (tmp_path / "file").write_text("")
    no_stores = [[str(path), str(stores[0])] for path in (tmp_path / "none", tmp_path / "file", tmp_path)]
    for wrong in ([*map(str, stores), "--tolerance", "nan"], *no_stores):
        assert main(wrong) == 2
        printed = capsys.readouterr()
        assert (printed.out, printed.err.count("\n")) == ("", 1)
        assert printed.err.startswith("error: ")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"intervals": {"image_auroc": Interval(low=0.1, high=1.0, method="m")}}, "intervals.image_auroc.low"),
        ({"thresholds": {"image_f1_max": 40.0}}, "thresholds.image_f1_max"),
        ({"indices_sha256": "ee" * 32}, "indices_sha256"),
        ({"counts": 19}, "dataset.n_test_normal"),
    ],
)
def test_what_else_a_run_found_counts_too(stores, change, name):
    put(stores[0])
    put(stores[1], **change)
    comparison = compare_stores(*stores)
    assert not comparison.is_same
    assert name in text_of(comparison).partition("other results that differ:")[2]


def test_a_tolerance_excuses_small_gaps_of_intervals_and_any_of_thresholds(stores):
    for store, gap in zip(stores, (0.0, 1e-7), strict=True):
        interval = Interval(low=0.5 + gap, high=1.0, method="m")
        put(store, intervals={"image_auroc": interval}, thresholds={"image_f1_max": 40.0 + gap})
    assert not compare_stores(*stores).is_same
    assert compare_stores(*stores, tolerance=1e-6).is_same


def test_equal_failures_are_the_same_and_those_of_two_kinds_are_not(stores):
    for store, message in zip(stores, ("one", "other"), strict=True):
        Store(store).write(make_failed(error=failure_of(ValueError(message), "fit")))
    comparison = compare_stores(*stores)
    assert comparison.pairs[0].results == ("error.message",)
    assert not comparison.is_same
    assert compare_stores(stores[0], stores[0]).is_same


def scored(rng, gain, *, perfect=False):
    """Scores of thirty images, the last twenty defective."""
    labels = np.repeat([0, 1], [10, 20])
    scores = labels * 10.0 + np.arange(30) * gain if perfect else rng.normal(labels * gain, 1)
    return ScoreTable(tuple(f"bottle/test/{i:02d}.png" for i in range(30)), labels, ("x",) * 30, scores)


def put_scored(store, seed, scores, **changes):
    area = roc_auc_score(scores.labels, scores.scores)
    put(store, seed=seed, scores=scores, values={"image_auroc": area}, **changes)


def test_runs_on_the_same_images_are_compared_in_pairs(stores):
    rng = np.random.default_rng(0)
    tables = {seed: (scored(rng, 1.0), scored(rng, 2.0)) for seed in (1, 2, 3)}
    for seed, pair in tables.items():
        for store, scores in zip(stores, pair, strict=True):
            put_scored(store, seed, scores)
    text = text_of(compare_stores(*stores))
    for seed, (a, b) in tables.items():
        found = delong_test(a.labels, a.scores, b.scores)
        assert f" {seed} {found.value:+.6f} {found.low:+.6f} to {found.high:+.6f} {found.p:#.2g} f1_max " in re.sub(
            r"(\n \d+) \d\.\d{6} \d\.\d{6}", r"\1", text
        )
    areas = np.array([[roc_auc_score(one.labels, one.scores) for one in pair] for pair in tables.values()])
    test = ttest_rel(areas[:, 1], areas[:, 0])
    low, high = test.confidence_interval(0.95)
    assert re.search(
        rf"image_auroc 3 {re.escape(f'{np.mean(areas[:, 1] - areas[:, 0]):+.6f}')} \d\.\d+ "
        rf"{re.escape(f'{low:+.6f} to {high:+.6f} {test.pvalue:#.2g}')}",
        text,
    )


def test_two_perfect_runs_and_runs_on_other_images(stores):
    rng = np.random.default_rng(0)
    for store, gain in zip(stores, (0.1, 0.2), strict=True):
        put_scored(store, 1, scored(rng, gain, perfect=True))
    assert "both AUROCs are 1: the difference is 0, and no test is made" in text_of(compare_stores(*stores))
    other = scored(rng, 1.0)
    put_scored(stores[0], 2, scored(rng, 1.0))
    put_scored(stores[1], 2, replace(other, paths=other.paths[::-1]))
    assert text_of(compare_stores(*stores)).count("note\n 1 ") == 1
    assert "\n 2 0." not in text_of(compare_stores(*stores))


def test_two_settings_of_one_store_are_compared(stores, capsys):
    rng = np.random.default_rng(0)
    for seed in (1, 2):
        for sigma in (0, 4):
            put_scored(stores[0], seed, scored(rng, 1 + sigma), blur_sigma=sigma)
    name = next(name for name in settings_of(Store(stores[0]).records().records[0]) if name.endswith("blur_sigma"))
    store = str(stores[0])
    assert main([store, store, "--a", f"{name}=0", "--b", f"{name}=4"]) == 1
    out = re.sub(r" +", " ", capsys.readouterr().out)
    assert "2 runs in both, 2 of them different" in out
    assert f"{name} 0 4 2" in out
    assert "image_auroc 2 +0." in out
    assert main([store, store, "--a", f"{name}=0", "--a", "seed=1", "--b", f"{name}=0", "--b", "seed=1"]) == 0
    capsys.readouterr()
    assert main([store, store, "--a", f"{name}=9"]) == 2
    assert f"holds no run with {name}=9" in capsys.readouterr().err
    assert main([store, store, "--b", "seed"]) == 2


def test_published_numbers_and_protocols_are_listed_by_the_script(project, capsys):
    references, searched = str(project / "results" / "references"), str(project / "results" / "settings")
    assert main(["--with-published", references]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if "xiahaifeng_padim" in line and "0.981" in line]
    assert line.split()[1:] == ["0.981", "0.982", "0.977", "to", "0.983", "consistent"]
    assert "    xiahaifeng_padim: interpolation=lanczos; p = 0.55" in lines
    assert max(len(line) for line in lines if not line.startswith("    ")) <= 80
    assert main(["--explain", "paper", "anomalib_2021", searched]) == 0
    out = capsys.readouterr().out
    assert "preprocessing.center_crop: [224,224] -> null (alone, mean over 11 seeds)" in out
    assert "pixel_auroc      +0.0040" in out
    for wrong, said in (
        ([references], "a comparison takes two stores, not 1"),
        (["--with-published", str(project)], "is no store (it holds no folder runs)"),
        (["--explain", "paper", "anomalib_2020", searched], "protocol anomalib_2020: is not there (did you mean"),
    ):
        assert main(wrong) == 2
        assert said in capsys.readouterr().err
