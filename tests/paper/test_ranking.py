"""Which settings come nearest to the bottle's rows: the ranking, and what docs/findings.md says of it."""

from __future__ import annotations

import re

import pytest

from harness.paper.published import load_published
from harness.paper.ranking import agreements, comparable, setting_of, spreads
from harness.store import Metrics, Store
from tests.store.making import VALUES, make_dataset, make_ok, make_spec

ROW1 = {"image_auroc": 0.9952, "image_f1_adaptive": 0.9764, "pixel_auroc": 0.9805, "pixel_f1_adaptive": 0.6944}


def record(seed=42, n_features=100, values=ROW1, **fields):
    spec = make_spec(seed=seed, n_features=n_features, **fields)
    return make_ok(spec, metrics=Metrics(**(VALUES | values)))


def test_the_run_that_gives_a_row_comes_first_and_only_for_its_table():
    near = record(seed=1, values=ROW1 | {"pixel_f1_adaptive": 0.7})
    ranked = agreements([near, record(seed=0)], load_published())
    first, second = [one for one in ranked if one.table == 1]
    assert (first.seed, len(first.exact), len(second.exact)) == (0, 4, 3)
    assert first.distance == pytest.approx(0, abs=1e-12)
    assert second.differences["Pix F1"] == pytest.approx(0.0056)
    assert max(len(one.exact) for one in ranked if one.table == 2) == 1  # they share the image F1 alone


def test_a_setting_is_named_by_what_is_not_the_papers():
    assert setting_of(record()) == "paper"
    assert setting_of(record(center_crop=None, epsilon=0.1)) == "epsilon=0.1 center_crop=null"
    assert setting_of(record(n_features=50, antialias=False)) == "antialias=false n_features=50"
    (spread,) = spreads([record(seed=0), record(seed=1, values=ROW1 | {"image_auroc": 0.99})])
    assert spread.ranges["Img AUROC"] == (0.99, 0.9952)


def test_other_backbones_and_parts_of_the_category_do_not_count():
    assert agreements([make_ok(make_spec(backbone="other"))], load_published()) == []
    assert spreads([make_ok(make_spec(category="cable"))]) == []


def test_inexact_runs_do_not_count():
    assert len(comparable([record()])) == 1
    assert comparable([record(inexact="bf16")]) == []


def test_the_findings_are_what_the_committed_runs_say(project):
    contents = Store(project / "results" / "settings").records()
    assert not contents.problems
    records = contents.records
    assert len(records) == 220
    assert max(len(one.exact) for one in agreements(records, load_published())) == 2
    pixel_f1 = sorted(one.values["pixel_f1_adaptive"] for one in records)
    assert pixel_f1[0] < 0.6969 < pixel_f1[1]
    assert min(one.values["pixel_f1_adaptive"] for one in records if one.spec.n_features >= 100) > 0.706

    text = (project / "docs" / "findings.md").read_text()
    rows = {
        "nothing (the paper's settings)": "paper",
        "index sampler of anomalib 2.x": "index_sampler=anomalib_v2",
        "no centre crop": "center_crop=null",
        "no smoothing of the map": "blur_sigma=0",
        "neither crop nor smoothing": "center_crop=null blur_sigma=0",
        "epsilon 0.001": "epsilon=0.001",
        "epsilon 0.1": "epsilon=0.1",
        "resize without antialias": "antialias=false",
        "bicubic resize": "interpolation=bicubic",
        "50 features": "n_features=50",
        "200 features": "n_features=200",
    }
    by_setting = {spread.setting: spread for spread in spreads(records)}
    for words, setting in rows.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {words} |")]
        told = [float(number) for number in re.findall(r"(?<![\w.])(\.\d{4}|1)(?![\w.])", line.split("|", 2)[2])]
        measured = [value for low_high in by_setting[setting].ranges.values() for value in low_high]
        assert told == pytest.approx(measured, abs=5.1e-5), words


def test_any_other_field_of_the_protocol_the_device_and_other_weights_are_named():
    assert setting_of(record(batch_size=8, resize=(128, 256))) == "resize=128x256 batch_size=8"
    usual, other = record(seed=0), record(seed=1)
    spec = other.spec.model_copy(update={"device": "cuda"})
    assert setting_of(other.model_copy(update={"spec": spec})) == "device=cuda"
    backbone = other.spec.backbone.model_copy(update={"weights_digest": "ef" * 32})
    spec = other.spec.model_copy(update={"backbone": backbone})
    other = other.model_copy(update={"spec": spec, "weights": "file: a1.safetensors"})
    names = [spread.setting for spread in spreads([usual, record(seed=2), other])]
    assert names == ["paper", "weights=file: a1.safetensors (efefefef)"]


def test_a_run_without_pixel_metrics_is_left_out():
    pixels = [name for name in VALUES if name.startswith("pixel")]
    spec = make_spec()
    whole = record()
    absent = {"metrics": Metrics(**(VALUES | dict.fromkeys(pixels))), "metrics_absent": dict.fromkeys(pixels, "none")}
    without = make_ok(spec, dataset=make_dataset(spec, has_masks=False), intervals={}, **absent)
    assert comparable([whole, without]) == [whole]
    assert len(agreements([whole, without], load_published())) == 2
