"""A store that went bad: every damage is named with what to do, fills no table, and takes nothing else with it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from harness.config.settings import MetricsConfig
from harness.metrics import evaluate_images, registered
from harness.report.checkup import check_store
from harness.report.render import render
from harness.store import MetricValue, Store, write_runs_csv
from harness.store.record import digest_of
from scripts.verify import main as verify
from tests.papers.making import PAPER, PUBLISHED
from tests.report.stores import whole, write_store
from tests.store.making import VALUES, make_dataset, make_ok, make_scores, make_spec


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A store with a run for every place of the paper's tables."""
    path = tmp_path_factory.mktemp("sound") / "store"
    write_store(path, whole(PAPER))
    return path


@pytest.fixture
def store(sound, tmp_path):
    return Path(shutil.copytree(sound, tmp_path / "store"))


def folder_of(store):
    """The run that is damaged."""
    (path,) = store.glob("runs/mvtec/cable/*/*")
    return path


def edit(folder, *, digest=False, **changes):
    path = folder / "record.json"
    data = json.loads(path.read_text())
    for name, value in changes.items():
        where, _, last = name.rpartition("__")
        (data[where] if where else data)[last] = value
    if digest:
        data["digest"] = digest_of(data)
    path.write_text(json.dumps(data))


def replaced(folder, by):
    """Something else in the place of the record."""
    (folder / "record.json").unlink()
    by(folder / "record.json")


def of_another(path):
    path.symlink_to(next((path.parents[3] / "bottle").rglob("record.json")))


def one_score(folder):
    path = folder / "scores.csv"
    path.write_bytes(path.read_bytes().replace(b",0,", b",1,", 1))


NEITHER = "restore it (git checkout), or move its folder out of the store and run again"
NO_JSON = ("is not the JSON of a record", NEITHER)
WRONG = ("lies in the wrong folder", "move it out of the store")
ASTRAY = ("lies where no run's folder can be", "move it back, or out of the store")
OTHER = ("is not what its record was made from", "restore it (git checkout), or run again")

DAMAGES = {
    "cut": (lambda f: (f / "record.json").write_bytes((f / "record.json").read_bytes()[:-100]), *NO_JSON),
    "empty": (lambda f: (f / "record.json").write_text(""), *NO_JSON),
    "metric": (lambda f: edit(f, metrics__image_auroc=0.123), "was edited or damaged", NEITHER),
    "NaN": (lambda f: edit(f, metrics__image_auroc=float("nan")), *NO_JSON),
    "range": (lambda f: edit(f, digest=True, metrics__image_auroc=1.23), "image_auroc: Input should", NEITHER),
    "seed": (lambda f: edit(f, digest=True, spec__seed=43), "does not belong to the spec", NEITHER),
    "newer": (lambda f: edit(f, digest=True, schema_version=99), "was written by a newer", "update the harness"),
    "renamed": (lambda f: f.rename(f.with_name("seed7-0123456789ab")), *WRONG),
    "category": (lambda f: f.parents[1].rename(f.parents[2] / "bobbin"), *WRONG),
    "moved": (lambda f: f.rename(f.parents[1] / f.name), *ASTRAY),
    "hidden": (lambda f: f.rename(f.with_name(f".{f.name}")), *ASTRAY),
    "folder": (lambda f: replaced(f, os.mkdir), "cannot be read (Is a directory)", "check"),
    "pipe": (lambda f: replaced(f, os.mkfifo), "cannot be read (it is not a plain file)", "check"),
    "link": (lambda f: replaced(f, of_another), *WRONG),
    "circle": (lambda f: replaced(f, lambda path: path.symlink_to(path.name)), "cannot be read (Too many", "check"),
    "scores": (lambda f: (f / "scores.csv").write_bytes(make_scores(1.0).to_csv()), *OTHER),
    "label": (one_score, *OTHER),
    "no scores": (lambda f: (f / "scores.csv").unlink(), "cannot be read (No such file", "run again to create it"),
    "no record": (lambda f: (f / "record.json").unlink(), "has no record.json", "or run it again"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_is_named_and_fills_nothing(store, sound, tmp_path, damage):
    do, what, remedy = DAMAGES[damage]
    before = check_store(Store(sound))
    assert (len(before.records), before.faults, before.astray) == (10, (), ())
    do(folder_of(store))
    after = check_store(Store(store))
    assert {record.spec.category for record in after.records} == {r.spec.category for r in before.records} - {"cable"}
    (line,) = after.faults + after.astray
    assert line.startswith(str(store / "runs" / "mvtec"))
    assert what in line
    assert remedy in line
    rendered = render(store, PUBLISHED, PAPER, tables=tmp_path / "t")
    assert rendered.warnings == (f"warning: {line}",)
    text = (tmp_path / "t" / "table1.md").read_text()
    assert "| Cable | not run |" in text
    assert "not run (2 of 3)" in text, "no mean over fewer categories than it says"


@pytest.mark.parametrize("damage", ["metric", "scores", "no record"])
def test_verify_names_the_file_and_what_no_longer_follows(store, monkeypatch, capsys, damage):
    def tables_only(store, published, edition, *, tables, figures):
        render(store, published, edition, tables=tables)
        figures.mkdir(exist_ok=True)

    write_runs_csv(store)
    tables_only(store, PUBLISHED, PAPER, tables=store / "tables", figures=store / "figures")
    monkeypatch.setattr("harness.report.render.render", tables_only)
    assert verify(["--store", str(store)]) == 0
    DAMAGES[damage][0](folder_of(store))
    capsys.readouterr()
    assert verify(["--store", str(store)]) == 1
    printed = capsys.readouterr()
    assert DAMAGES[damage][1] in printed.err.splitlines()[0]
    assert "table1.md: is not what the store gives" in printed.err
    assert printed.out.startswith("not verified: ")


def test_links_in_the_tree_that_lead_nowhere_are_passed_over(store):
    runs = store / "runs"
    (runs / "loop").symlink_to(runs / "loop")
    (runs / "mvtec" / "gone").symlink_to(runs / "nowhere")
    checkup = check_store(Store(store))
    assert (len(checkup.records), checkup.faults) == (10, ())


def consistent(**changes):
    """An ok record whose image metrics follow from its scores, as of today's metrics."""
    spec = make_spec()
    scores = make_scores()
    ours = evaluate_images(scores.scores, scores.labels, MetricsConfig(bootstrap_samples=0)).metrics
    values = {name: one.value for name, one in ours.items()}
    metrics = {
        name: MetricValue(value=value, version=registered()[name].version)
        for name, value in (VALUES | values | changes).items()
    }
    dataset = make_dataset(spec, n_test_normal=3, n_test_anomalous=3)
    return make_ok(spec, metrics=metrics, dataset=dataset, intervals={})


def test_numbers_that_follow_from_their_scores_are_trusted(tmp_path):
    Store(tmp_path).write(consistent(), make_scores())
    checkup = check_store(Store(tmp_path))
    assert (len(checkup.records), checkup.faults) == (1, ())


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"image_auroc": 0.5}, "gives image_auroc 1.0, and its record says 0.5"),
        ({"image_f1_strict": 0.9}, "gives image_f1_strict 0.8, and its record says 0.9"),
        ({"image_f1_max": 1.0 - 2**-53}, "gives image_f1_max 1.0, and its record says 0.9999999999999999"),
        ({"dataset": {"n_test_normal": 4}}, "has 3 normal and 3 defective images, and its record says 4 and 3"),
    ],
)
def test_a_number_forged_with_its_digest_is_denied_by_its_scores(tmp_path, changes, what):
    """The digest guards against accidents; whoever computes a new one still has the scores against them."""
    if "dataset" in changes:
        record = consistent()
        record = make_ok(
            record.spec.model_dump(),
            metrics=record.metrics,
            intervals={},
            dataset=record.dataset.model_copy(update=changes["dataset"]),
        )
    else:
        record = consistent(**changes)
    Store(tmp_path).write(record, make_scores())
    checkup = check_store(Store(tmp_path))
    assert checkup.records == ()
    (line,) = checkup.faults
    assert f"scores.csv: {what}; restore both (git checkout), or move the folder out of the store and run again" in line
