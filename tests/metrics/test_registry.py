from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

import harness.metrics
from harness.config.settings import MetricsConfig
from harness.metrics import UndefinedError, evaluate, metric, registered, registry

LABELS = np.array([0, 0, 1, 1])
SCORES = np.array([1.0, 2.0, 3.0, 4.0])
MAPS = SCORES[:, None, None] + np.arange(9.0).reshape(3, 3) / 10
MASKS = np.zeros((4, 3, 3), bool)
MASKS[2:, 1] = True


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """What a test registers is gone after it."""
    monkeypatch.setattr(registry, "_METRICS", registered())


def run(maps=MAPS, masks=MASKS):
    return evaluate(SCORES, LABELS, maps, masks, config=MetricsConfig(bootstrap_samples=0))


def test_names_and_labels_in_their_order():
    assert {name: one.label for name, one in registered().items()} == {
        "image_auroc": "Image AUROC",
        "image_f1_max": "Image F1-max",
        "image_f1_strict": "Image F1, strict",
        "image_ap": "Image AP",
        "pixel_auroc": "Pixel AUROC",
        "pixel_f1_max": "Pixel F1-max",
        "pixel_f1_strict": "Pixel F1, strict",
        "pixel_aupro": "AUPRO",
        "pixel_ap": "Pixel AP",
        "pixel_iou_max": "Pixel IoU-max",
    }
    assert list(registered()) == [
        "image_auroc", "image_f1_max", "image_f1_strict", "image_ap", "pixel_auroc", "pixel_f1_max", "pixel_f1_strict",
        "pixel_aupro", "pixel_ap", "pixel_iou_max",
    ]  # fmt: skip


def test_the_recipe_of_contributing_adds_a_metric(project):
    recipe = re.search(
        r"\*\*A metric\.\*\*.*?```python\n(.*?)```", (project / "CONTRIBUTING.md").read_text(), re.DOTALL
    )
    exec(compile(recipe[1], "recipe", "exec", dont_inherit=True), {})
    report = run()
    assert list(report.metrics)[4] == "image_top1", "after the image metrics of every run, before those of pixels"
    assert (report.metrics["image_top1"].value, report.metrics["image_top1"].version) == (1, 1)
    assert report.absent == {}


def test_a_file_in_the_package_adds_a_metric(tmp_path, monkeypatch):
    monkeypatch.setattr(harness.metrics, "__path__", [*harness.metrics.__path__, str(tmp_path)])
    (tmp_path / "added_for_a_test.py").write_text(
        "from harness.metrics import Pixels, metric\n"
        "@metric(name='pixel_peak', level='pixel', label='Peak', needs={'maps'}, version=3, low=1, high=9)\n"
        "def peak(sample: Pixels) -> float:\n"
        "    return sample.maps.max()\n"
    )
    try:
        report = run(masks=None)
    finally:
        sys.modules.pop("harness.metrics.added_for_a_test", None)
    peak = report.metrics["pixel_peak"]
    assert (peak.value, type(peak.value), peak.version) == (4.8, float, 3), "it needs no masks, and there are none"
    assert report.absent["pixel_auroc"] == "no masks"


def dummy(compute, **changes):
    metric(**{"name": "image_dummy", "level": "image", "label": "Dummy", "needs": {"scores"}} | changes)(compute)


def test_a_metric_says_where_it_is_not_defined():
    def undefined(sample):
        raise UndefinedError("fewer than five images")

    dummy(undefined)
    report = run()
    assert report.absent == {"image_dummy": "fewer than five images"}
    assert "image_dummy" not in report.metrics


@pytest.mark.parametrize("needs", [{"masks"}, {"regions"}, {"maps", "regions"}])
def test_a_metric_is_not_called_without_what_it_needs(needs):
    dummy(lambda sample: 1 / 0, name="pixel_dummy", level="pixel", needs=needs)
    assert run(masks=None).absent["pixel_dummy"] == "no masks"
    assert run(masks=np.zeros_like(MASKS)).absent["pixel_dummy"] == "no defective pixel in any mask"


@pytest.mark.parametrize("value", [-0.001, 1.001, np.nan, np.inf])
def test_a_value_outside_the_range_is_an_error(value):
    dummy(lambda sample: value)
    with pytest.raises(ValueError, match=f"metric image_dummy gave {value}, which is not from 0 to 1"):
        run()


def test_a_metric_that_fails_is_not_passed_off_as_undefined():
    dummy(lambda sample: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run()


def test_wrong_declarations_are_refused():
    with pytest.raises(ValueError, match=r"image_auroc: the name is taken by harness\.metrics\.standard"):
        dummy(lambda sample: 0, name="image_auroc")
    with pytest.raises(ValueError, match="'image auroc': the name must be an identifier"):
        dummy(lambda sample: 0, name="image auroc")
    for needs in (set(), {"maps"}, {"scores", "masks"}):
        with pytest.raises(ValueError, match="of images choose from scores"):
            dummy(lambda sample: 0, needs=needs)
    with pytest.raises(ValueError, match="of pixels choose from maps, masks, regions"):
        dummy(lambda sample: 0, level="pixel", needs={"scores"})


def test_names_and_labels_cost_no_heavy_import(project):
    code = (
        "import sys; from harness.metrics.registry import registered; assert len(registered()) == 10\n"
        "print(sorted({'torch', 'scipy', 'pydantic', 'pandas', 'harness.store'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
