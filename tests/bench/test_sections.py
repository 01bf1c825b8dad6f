"""Both sides run on the same images and agree; where they do not, nothing is written."""

from __future__ import annotations

import pytest

from harness.bench import sections
from harness.bench.contestants import METRICS, anomalib, floor, ours_warm
from harness.bench.images import drawn_source
from harness.bench.process import BenchError
from harness.bench.sections import PIXELS, REFUSALS, SECTIONS, Bench, check, tools
from harness.errors import RequestError
from tests.bench.made import one


def test_sides_that_differ_are_refused():
    same = dict.fromkeys(METRICS, 0.5)
    check([one("a", metrics=same), one("b", metrics=same), one("floor")])
    for name in METRICS:
        with pytest.raises(BenchError, match=f"times say nothing: {name}: b"):
            check([one("a", metrics=same), one("b", metrics={**same, name: 0.500002})])
    with pytest.raises(BenchError, match="nobody to compare in image_auroc"):
        check([one("a", metrics=same), one("floor")])


@pytest.mark.slow
def test_the_floor_ours_and_anomalib_on_the_same_images(tmp_path):
    said: list[str] = []
    bench = Bench(
        drawn_source(tmp_path / "d", n_train=4, n_test=4, side=120), tmp_path, said.append, repeats=1, limit=4
    )
    setup = bench.setup()
    names = ["floor", "warm", "lean"]
    measured = bench.measure([floor(setup), ours_warm(setup, "warm"), anomalib(setup, "lean", lean=True)])
    check(measured)
    assert [one.name for one in measured] == names == [line.split()[0] for line in said]
    by_name = {one.name: one for one in measured}
    assert 0 < by_name["floor"].work_seconds < by_name["floor"].seconds
    assert 0 < by_name["warm"].work_seconds < by_name["warm"].seconds
    assert {"fit", "metrics"} <= set(by_name["warm"].stages)
    stages = by_name["lean"].stages
    assert {"import", "train pass", "fit", "validation pass", "test pass", "metrics"} <= set(stages)
    assert sum(stages.values()) <= by_name["lean"].seconds
    results = bench.results("x", "2026-01-01T00:00:00Z", measured, setup)
    assert str(tmp_path) not in repr(results)
    assert (results.settings["synthetic"], results.settings["n_train"], results.settings["n_test"]) == (True, 4, 4)


def test_refusals_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sections, "render", lambda: sections.refusal("render", ("seed=x",)))
    bench = Bench(None, tmp_path, lambda _: None, repeats=1)
    assert tools(bench).names == ("render", *REFUSALS)


def test_the_metrics_are_measured_on_as_many_pixels_as_their_names_say():
    assert {name: round(n * 224 * 224 / 1e6) for name, n in PIXELS.items()} == {"4M": 4, "40M": 40}
    assert set(sections.QUICK) <= set(SECTIONS)


def test_a_few_images_are_not_called_millions_of_pixels(tmp_path, monkeypatch):
    names = []

    def measure(_self, contestants):
        names.extend(contestant.name for contestant in contestants)
        return []

    monkeypatch.setattr(Bench, "measure", measure)
    found = sections.metrics(Bench(None, tmp_path, lambda _: None, limit=4))
    assert names == ["ours-auroc_f1-4", "anomalib-auroc_f1-4", "ours-aupro-4", "anomalib-aupro-4"]
    assert found.settings["images"] == {"4": 4}


def test_weights():
    sections.check_weights("random")
    with pytest.raises(RequestError, match="no-such-file: no such file"):
        sections.check_weights("no-such-file")
