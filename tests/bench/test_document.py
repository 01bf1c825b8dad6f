"""docs/benchmarks.md and its figure follow from results/bench, and say what was measured."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from harness.bench.bounds import BOUNDS
from harness.bench.document import NOT_MEASURED, rewrite, stale, summary, words, write_document
from harness.bench.figure import PARTS, draw, figure_bytes, parts_of
from harness.bench.results import write_results
from harness.bench.sections import SECTIONS
from harness.errors import RequestError
from harness.report.style import drawing
from tests.bench.made import core, one, section


def test_the_page_follows_from_the_results(project):
    assert stale(project / "docs/benchmarks.md", project / "results/bench") == [], "run scripts/bench.py --docs"


def test_every_section_has_its_place(project):
    marked = re.findall(r"<!-- bench:([a-z]+) -->", (project / "docs/benchmarks.md").read_text())
    assert sorted(marked) == sorted([*SECTIONS, "bounds", "figure", "gpu"])


@pytest.fixture
def page(project, tmp_path):
    return Path(shutil.copy(project / "docs/benchmarks.md", tmp_path))


def test_written_from_results_and_stale_when_they_change(page, tmp_path):
    folder = tmp_path / "bench"
    write_results(core(), folder)
    written = write_document(page, folder)
    assert [path.name for path in written] == ["benchmarks.md", "benchmarks.svg"]
    assert stale(page, folder) == []
    text = page.read_text()
    assert "| ours, one seed | 12.50 (12.00 to 13.00) |  | 1024 | 1024 |" in text
    assert "mvtec/bottle, 209 training and 83 test images; resnet18 (some.safetensors), 100 features. 2 repeats" in text
    assert "commit 0123456789 with changes; 2026-01-02" in text
    write_results(core(ours=20.0), folder)
    assert [line.split(":")[0] for line in stale(page, folder)] == ["benchmarks.md", "benchmarks.svg"]


def test_without_results_it_says_so(page, tmp_path):
    text = rewrite(page.read_text(), {})
    assert text.count(NOT_MEASURED) == len(SECTIONS) + 2
    assert text.count("not measured |") == len(BOUNDS)
    assert "benchmarks.svg" not in text


def test_bounds():
    sections = {
        "core": core(),
        "scaling": section(
            "scaling",
            one("ours-200", peak=2**30, numbers={"predicted_rss_bytes": 1.2 * 2**30}),
            one("ours-1000", peak=int(1.2 * 2**30), numbers={"predicted_rss_bytes": 1.2 * 2**30}),
        ),
        "wide": section("wide", one("wide-256", peak=3 * 2**30), one("wide-550", peak=9 * 2**30)),
        "metrics": section(
            "metrics",
            one("ours-auroc_f1-40M", work_seconds=2.0, numbers={"extra_bytes": 1.0}),
            one("anomalib-auroc_f1-40M", work_seconds=12.0, numbers={"extra_bytes": 4.0}),
            one("ours-aupro-40M", work_seconds=3.0),
            one("anomalib-aupro-40M", work_seconds=2.0),
        ),
        "tools": section("tools", one("render", 8.0), one("refuse-key", 0.5), one("refuse-features", 2.5)),
    }
    found = [(bound.value(sections), bound.holds(sections)) for bound in BOUNDS]
    expected = [
        (7.8 / 6.7, True), (33 / 12.5, True), (45 / 12.5, True), (18 / 12.5, True), (30 / 13, False),
        (1.2, False), (3, True), (9, False), (0.2, True), (None, None),
        (6, True), (0.25, True), (1.5, False), (8, True), (2.5, False),
    ]  # fmt: skip
    close = [(value if value is None else pytest.approx(value, rel=1e-6), holds) for value, holds in expected]
    assert found == close
    assert "lean Engine against ours, whole processes: 2.64× (at least 2.50×): holds" in summary(core())
    assert "**does not hold**" in rewrite("<!-- bench:bounds -->\n<!-- /bench -->", sections)


def test_no_bound_is_for_a_few_images():
    few = replace(core(), settings={**core().settings, "limit": 4})
    said = summary(few)
    assert said.endswith("\n\nat most 4 images: no bound is for this")
    assert "ours, ten seeds" in said
    assert "holds" not in said


def test_an_unknown_part_is_refused():
    with pytest.raises(RequestError, match="no part bench:nonsense"):
        rewrite("<!-- bench:nonsense -->\nx\n<!-- /bench -->", {})


def test_names_in_words():
    assert words("ours-auroc_f1-40M") == "AUROC and F1 of 40 million pixels, ours"
    assert words("anomalib-aupro-4M") == "AUPRO of 4 million pixels, anomalib"
    assert words("ours-aupro-4") == "AUPRO of 4 drawn images, ours"
    assert words("anomalib-lean-1000") == "anomalib's Engine, lean, 1000 training images"
    assert words("ours-50") == "ours, 50 training images"
    assert words("workers-2") == "anomalib's Engine, lean, 2 decoding processes"


@pytest.mark.parametrize("name", ["anomalib", "anomalib-lean", "ours", "floor"])
def test_a_bar_is_the_whole_process(name):
    results = core()
    parts = parts_of(results, name)
    assert list(parts) == list(PARTS)
    assert sum(parts.values()) == pytest.approx(sum(results.values(name)) / 2)


def test_the_parts_of_a_bar():
    parts = parts_of(core(), "anomalib")
    assert (parts["test images, for validation"], parts["test images"], parts["Gaussians"]) == (4.8, 15.0, 2.4)
    ours = parts_of(core(), "ours")
    assert (ours["training images"], ours["factors and maps"]) == (4.1, 1.1)
    assert ours["start and imports"] == pytest.approx(12.5 - 4.1 - 2.2 - 1.1 - 0.9 - 0.32)


def test_the_figure_is_the_same_each_time_and_no_labels_overlap():
    assert figure_bytes(core()) == figure_bytes(core())
    assert figure_bytes(core()) != figure_bytes(core(synthetic=True))
    with drawing():
        figure = draw(core())
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        (axes,) = figure.axes
        texts = [
            *axes.texts,
            *axes.get_xticklabels(),
            *axes.get_yticklabels(),
            axes.xaxis.label,
            *figure.legends[0].texts,
        ]
        boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts if text.get_text()]
    assert len(boxes) > 25
    for number, (one_text, box) in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, one_text
        for other_text, other in boxes[number + 1 :]:
            assert not box.overlaps(other), (one_text, other_text)
