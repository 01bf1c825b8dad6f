"""scripts/rescore.py: image metrics follow from scores.csv again, and nothing else changes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from harness.store import ScoreTable, Store
from harness.store.record import dump_record
from scripts.rescore import main as rescore
from tests.store.making import make_failed, make_metrics, make_ok, make_scores, make_spec

MAPS = {"maps": np.ones((2, 4, 4), np.float32)}
TRULY = {"image_auroc": 0.5, "image_gone": 0.7, "pixel_auroc": 0.25}
"""What nobody measured; the second is a metric that there is no more."""


def scores_of(seed: int) -> ScoreTable:
    plain = make_scores(n=20)
    return ScoreTable(plain.paths, plain.labels, plain.defect_types, np.random.default_rng(seed).normal(size=20))


def fill(store: Store, n: int) -> None:
    for seed in range(n):
        scores = scores_of(seed)
        record = make_ok(
            make_spec(seed=seed),
            scores_sha256=scores.sha256,
            metrics=make_metrics(TRULY),
            intervals={},
            thresholds={"image_gone": 1.0, "pixel_f1_max": 2.0},
        )
        store.write(record, scores, MAPS)
    store.write(make_failed(make_spec(category="cable")))


def test_image_metrics_follow_from_the_scores_and_pixel_metrics_stay(tmp_path, capsys):
    store = Store(tmp_path)
    fill(store, 22)
    before = {record.key: record for record in store.records().records}
    assert rescore([str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{store.run_folder(make_spec(seed=0))}: metrics.image_auroc.value 0.5 -> ")
    assert lines[20:] == ["and 2 more", "22 runs looked at, 22 changed, 0 cannot be trusted"]
    for record in store.records().records:
        if record.status == "failed":
            assert record == before[record.key]
            continue
        scores = scores_of(record.spec.seed)
        assert record.values["image_auroc"] == pytest.approx(roc_auc_score(scores.labels, scores.scores), abs=1e-12)
        assert record.intervals["image_auroc"].low < record.values["image_auroc"]
        assert "image_gone" not in {*record.values, *record.thresholds}
        assert (record.metrics["pixel_auroc"].value, record.thresholds["pixel_f1_max"]) == (0.25, 2.0)
        changed = {"metrics", "metrics_absent", "intervals", "thresholds"}
        assert record.model_dump(exclude=changed) == before[record.key].model_dump(exclude=changed)
        assert store.done(record.spec.model_dump()) == record
        assert store.scores(record).to_csv() == scores.to_csv()
        np.testing.assert_array_equal(store.examples(record)["maps"], MAPS["maps"])
    assert "0.25" in (tmp_path / "runs.csv").read_text()
    assert rescore([str(tmp_path)]) == 0
    assert capsys.readouterr().out == "22 runs looked at, 0 changed, 0 cannot be trusted\n"


def test_only_the_runs_that_are_asked_for_change(tmp_path, capsys):
    store = Store(tmp_path)
    fill(store, 3)
    first, second, third = (store.find(make_spec(seed=seed)) for seed in range(3))
    assert rescore([str(tmp_path), "--run", first.key, third.key]) == 0
    assert [store.find(make_spec(seed=seed)) == old for seed, old in enumerate((first, second, third))] == [
        False, True, False,
    ]  # fmt: skip
    assert rescore([str(tmp_path), "--run", "0123456789ab"]) == 2
    assert "--run 0123456789ab: no such run" in capsys.readouterr().err


def test_what_cannot_be_trusted_or_is_of_an_older_harness_is_left(tmp_path, capsys):
    store = Store(tmp_path)
    fill(store, 1)
    folder = store.run_folder(make_spec(seed=0))
    (folder / "scores.csv").write_bytes(make_scores(n=20).to_csv())
    before = (folder / "record.json").read_bytes()
    assert rescore([str(tmp_path)]) == 1
    assert f"{folder / 'scores.csv'}: is not what its record was made from" in capsys.readouterr().err
    assert (folder / "record.json").read_bytes() == before
    old = json.loads(dump_record(make_ok(make_spec(seed=5)))) | {"schema_version": 2}
    (folder / "record.json").write_text(json.dumps(old, indent=2, sort_keys=True))
    assert rescore([str(tmp_path)]) == 2
    assert "python scripts/upgrade.py" in capsys.readouterr().err
