"""Which settings come nearest to the bottle's rows: the ranking, and what docs/findings.md says of it."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.stats

from harness.papers.ranking import lines, rankings, residuals, seed_ranges, setting_of
from harness.papers.verdict import shown_p
from harness.store import Store
from scripts import settings
from tests.papers.making import PUBLISHED
from tests.store.making import VALUES, make_metrics, make_ok, make_spec

ROW1 = {"image_auroc": 0.9952, "image_f1_strict": 0.9764, "pixel_auroc": 0.9805, "pixel_f1_strict": 0.6944}


def record(seed=42, n_features=100, values=ROW1, **fields):
    spec = make_spec(seed=seed, n_features=n_features, **fields)
    return make_ok(spec, metrics=make_metrics(VALUES | values))


def seeds_of(shift, **fields):
    """Eleven runs of a setting, scattered about Table 1's row plus a shift."""
    rng = np.random.default_rng(3)
    scatter = rng.normal(0, [0.001, 0.004, 0.001, 0.01], (11, 4))
    return [
        record(
            seed=seed,
            values={name: value + shift + move for (name, value), move in zip(ROW1.items(), moves, strict=True)},
            **fields,
        )
        for seed, moves in enumerate(scatter.tolist())
    ]


def test_the_setting_whose_seeds_a_row_fits_comes_first():
    records = [*seeds_of(-0.02), *seeds_of(0.0, center_crop=None), *seeds_of(0.0, epsilon=0.1)[:6]]
    ranked = [one for one in rankings(records, PUBLISHED) if one.row.table == 1]
    assert [one.setting for one in ranked] == ["center_crop=null", "paper", "epsilon=0.1"]
    assert [one.n_runs for one in ranked] == [11, 11, 6]
    first, second, few = ranked
    assert first.p > 0.05
    assert second.p < 0.001
    assert few.p is None
    assert second.differences["Pix F1"] == pytest.approx(first.differences["Pix F1"] - 0.02)
    (expected,) = [
        one
        for one in residuals(lines(records, PUBLISHED), PUBLISHED)
        if (one.table, one.row, one.line.preprocessing) == (1, "Bottle", "256x256, no crop")
    ]
    assert first.residual == expected


def test_a_setting_is_named_by_what_is_not_the_papers():
    assert setting_of(record(), PUBLISHED) == "paper"
    assert setting_of(record(center_crop=None, epsilon=0.1), PUBLISHED) == "epsilon=0.1 center_crop=null"
    assert setting_of(record(n_features=50, antialias=False), PUBLISHED) == "antialias=false n_features=50"
    (spread,) = seed_ranges([record(seed=0), record(seed=1, values=ROW1 | {"image_auroc": 0.99})], PUBLISHED)
    assert spread.ranges["Img AUROC"] == (0.99, 0.9952)


def test_other_backbones_and_parts_of_the_category_do_not_count():
    assert rankings([make_ok(make_spec(backbone="other"))], PUBLISHED) == []
    assert seed_ranges([make_ok(make_spec(category="cable"))], PUBLISHED) == []


def test_the_findings_are_what_the_committed_runs_say(project):
    contents = Store(project / "results" / "settings").records()
    assert not contents.problems
    records = contents.records
    assert len(records) == 352
    text = (project / "docs" / "findings.md").read_text()
    ranked = {(one.row.table, one.setting): one.p for one in rankings(records, PUBLISHED)}
    for table, fitting, largest in ((1, "10 of 14", ".80 for Table 1"), (2, "8 of 14", ".68 for Table 2")):
        whole = [p for (number, name), p in ranked.items() if number == table and "center_crop=null" in name]
        assert f"{sum(p >= 0.05 for p in whole)} of {len(whole)}" == fitting
        assert f"{max(whole):.2f} for Table {table}"[1:] == largest
        assert fitting in text
        assert largest in text
        assert max(p for (number, name), p in ranked.items() if "center_crop=null" not in name) < 0.00105
    cropped = sorted(one.values["pixel_f1_strict"] for one in records if one.spec.preprocessing.center_crop)
    assert len(cropped) == 198
    assert cropped[0] < 0.6969 < cropped[1]

    rows = {
        "nothing (the paper's settings)": "paper",
        "index sampler of anomalib 2.x": "index_sampler=anomalib_v2",
        "no centre crop": "center_crop=null",
        "no centre crop, epsilon 0.001": "epsilon=0.001 center_crop=null",
        "straight to 224×224": "center_crop=null resize=224x224",
        "straight to 224×224, epsilon 0.001": "epsilon=0.001 center_crop=null resize=224x224",
        "straight to 224×224, no antialias": "center_crop=null antialias=false resize=224x224",
        "straight to 224×224, no antialias, epsilon 0.001": (
            "epsilon=0.001 center_crop=null antialias=false resize=224x224"
        ),
        "no smoothing of the map": "blur_sigma=0",
        "neither crop nor smoothing": "center_crop=null blur_sigma=0",
        "epsilon 0.001": "epsilon=0.001",
        "epsilon 0.1": "epsilon=0.1",
        "resize without antialias": "antialias=false",
        "bicubic resize": "interpolation=bicubic",
        "50 features": "n_features=50",
        "200 features": "n_features=200",
        "256 features": "n_features=256",
    }
    by_setting = {spread.setting: spread for spread in seed_ranges(records, PUBLISHED)}
    for words, setting in rows.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {words} |")]
        *spans, p_values = line.strip("| ").split(" | ")[1:]
        told = [float(number) for number in re.findall(r"(?<![\w.])(\.\d{4}|1)(?![\w.])", " ".join(spans))]
        measured = [value for low_high in by_setting[setting].ranges.values() for value in low_high]
        assert told == pytest.approx(measured, abs=5.1e-5), words
        assert p_values == " / ".join(shown_p(ranked[table, setting]) for table in (1, 2)), words


def test_the_lines_in_the_findings_are_those_of_the_committed_runs(project, tmp_path):
    fitted = lines(Store(project / "results" / "settings").records().records, PUBLISHED)
    found = residuals(fitted, PUBLISHED)
    text = (project / "docs" / "findings.md").read_text()
    for line in fitted:
        words = line.preprocessing.replace("x", "×")
        (row,) = [row for row in text.splitlines() if row.startswith(f"| {words} | {len(line.points)} |")]
        cells = row.split(" | ")[2:]
        for cell, one in zip(cells, [one for one in found if one.line is line], strict=True):
            said = re.match(r"(\.\d{4}) \((−[\d.]+)\)( °)?", cell)
            assert said[1] == f"{one.predicted:.4f}"[1:]
            assert said[2] == f"{one.deviations:.1f}".replace("-", "−")
            assert bool(said[3]) is not line.reaches(one.x)
    drawn = tmp_path / "settings.svg"
    assert settings.main(["--figure", str(drawn)]) == 0
    assert drawn.read_bytes() == (project / "docs" / "settings.svg").read_bytes()
    assert settings.main(["--figure", str(tmp_path / "settings.gif")]) == 2


def test_lines_and_prediction_errors_are_those_of_an_independent_fit():
    """The prediction error of a further run, from the covariance of the fitted coefficients."""
    random = np.random.default_rng(0)
    for size in (3, 5, 40):
        x = random.uniform(0.97, 0.99, size)
        y = 5 * x - 4 + random.normal(0, 0.004, size)
        records = [
            record(seed=seed, values={"pixel_auroc": a, "pixel_f1_strict": b})
            for seed, (a, b) in enumerate(zip(x, y, strict=True))
        ]
        (line,) = lines(records, PUBLISHED)
        fit = scipy.stats.linregress(x, y)
        assert (line.slope, line.intercept) == pytest.approx((fit.slope, fit.intercept), rel=1e-9)
        design = np.column_stack([np.ones(size), x])
        remainder = y - design @ [fit.intercept, fit.slope]
        variance = remainder @ remainder / (size - 2)
        for at in (0.95, 0.98, 1.0):
            point = np.array([1, at])
            error = np.sqrt(variance * (1 + point @ np.linalg.inv(design.T @ design) @ point))
            predicted, told = line.predict(at)
            assert predicted == pytest.approx(fit.intercept + fit.slope * at, rel=1e-9)
            assert told == pytest.approx(error, rel=1e-5)
            assert line.reaches(at) == (x.min() <= at <= x.max())


def test_each_preprocessing_has_its_line_if_it_has_runs_enough():
    values = [{"pixel_auroc": 0.97 + 0.001 * seed, "pixel_f1_strict": 0.7 + 0.01 * seed % 3} for seed in range(3)]
    cropped = [record(seed=seed, values=value) for seed, value in enumerate(values)]
    whole = [record(seed=seed, values=value, center_crop=None, epsilon=0.1) for seed, value in enumerate(values)]
    few = [record(seed=seed, values=value, antialias=False) for seed, value in enumerate(values[:2])]
    names = [line.preprocessing for line in lines([*cropped, *whole, *few], PUBLISHED)]
    assert names == ["256x256, crop 224x224", "256x256, no crop"]


def test_any_other_field_of_the_protocol_the_device_and_other_weights_are_named():
    assert setting_of(record(batch_size=8, resize=(128, 256)), PUBLISHED) == "resize=128x256 batch_size=8"
    usual, other = record(seed=0), record(seed=1)
    spec = other.spec.model_copy(update={"device": "cuda"})
    assert setting_of(other.model_copy(update={"spec": spec}), PUBLISHED) == "device=cuda"
    backbone = other.spec.backbone.model_copy(update={"weights_digest": "ef" * 32})
    spec = other.spec.model_copy(update={"backbone": backbone})
    other = other.model_copy(update={"spec": spec, "weights": "file: a1.safetensors"})
    names = [spread.setting for spread in seed_ranges([usual, record(seed=2), other], PUBLISHED)]
    assert names == ["paper", "weights=file: a1.safetensors (efefefef)"]
