"""Figures 1 to 9: what is drawn is what the store and the paper say, nothing overlaps, real images stay local."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.text import Text
from PIL import Image

from harness.papers.model import Place
from harness.report.bars import Bar, Series, floor_of
from harness.report.figures import DRAWINGS, caption, numbers, render_figures
from harness.report.overlays import Exhibit, blend, find_exhibit, jet, overlays_figure, unit_interval
from harness.report.style import OURS, THEIRS, drawing
from harness.report.words import Whisker, choose_whisker, whisker
from tests.papers.making import PAPER, PUBLISHED, SMOKE, failed, run
from tests.report.stores import PLACES, judge_store, make_examples, run_of, values_of, whole, write_store
from tests.store.making import patient

CABLE = Place("mvtec", "cable", "padim", "resnet18")
LOW = dict.fromkeys(values_of(PLACES[0]), 0.04)
FIGURES = PUBLISHED.figures
OVERLAYS = next(figure for figure in FIGURES if figure.kind == "overlays")
NO_EXAMPLES = Exhibit(None, "not run", "")


def prepared(figure):
    FigureCanvasAgg(figure).draw()
    return figure


def draw(stem, records, edition=PAPER, exhibit=NO_EXAMPLES):
    with drawing():
        figure = next(figure for figure in FIGURES if figure.stem == stem)
        return prepared(DRAWINGS[figure.kind](figure, judge_store(records, edition), exhibit).figure)


def draw_overlays(exhibit, *, one_scale):
    with drawing():
        return prepared(overlays_figure(judge_store([], SMOKE), exhibit, OVERLAYS, one_scale=one_scale).figure)


def texts(figure):
    """Every text that is shown, with its box in pixels."""
    renderer = figure.canvas.get_renderer()
    shown = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    return [(text, text.get_window_extent(renderer)) for text in shown]


def words(figure):
    return [text.get_text() for text, _ in texts(figure)]


def markers(axes):
    """Heights of the published values' markers."""
    return [float(line.get_ydata()[0]) for line in axes.lines if line.get_marker() == "D"]


def heights(axes):
    """Tops of the bars; a slot without a run is as tall as the axis."""
    return [patch.get_y() + patch.get_height() for patch in axes.patches]


SITUATIONS = {
    "smoke": lambda: (whole(SMOKE), SMOKE, Exhibit(make_examples(), "", "")),
    "paper, several seeds": lambda: (whole(PAPER, seeds=(0, 1, 42)), PAPER, NO_EXAMPLES),
    "paper, some failed": lambda: ([run_of(PLACES[0], PAPER), failed(CABLE)], PAPER, NO_EXAMPLES),
    "paper, low values": lambda: ([run(place, values=LOW) for place in PLACES], PAPER, NO_EXAMPLES),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_no_text_overlaps_another_or_leaves_the_sheet(situation):
    records, edition, exhibit = SITUATIONS[situation]()
    for stem in [figure.stem for figure in FIGURES]:
        sheet = draw(stem, records, edition, exhibit)
        shown = [(text, box) for text, box in texts(sheet) if text.get_text() != "SYNTHETIC"]
        page = sheet.bbox
        for text, box in shown:
            inside = page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
            assert inside, f"{stem}: {text.get_text()!r} is cut off"
        for (one, first), (other, second) in itertools.combinations(shown, 2):
            across = min(first.x1, second.x1) - max(first.x0, second.x0)
            up = min(first.y1, second.y1) - max(first.y0, second.y0)
            # A pixel at 100 dpi is less than the room that a line keeps above and below its letters.
            assert across <= 1 or up <= 1, f"{stem}: {one.get_text()!r} on {other.get_text()!r}"


@pytest.mark.parametrize(("stem", "table"), [("fig2_mvtec", 1), ("fig6_btad", 4)])
def test_category_bars_are_the_stores_values_and_markers_the_published(stem, table):
    figure = draw(stem, whole(PAPER))
    layout = PUBLISHED.table(table)
    rows = [row for row in layout.names if row != "Mean"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["(a) AUROC by category", "(b) F1 by category"]
    for axes, columns in zip(figure.axes, (("Img AUROC", "Pix AUROC"), ("Img F1", "Pix F1")), strict=True):
        cells = [(row, column) for column in columns for row in rows]
        expected = [
            values_of(PUBLISHED.places(layout.number, row)[0])[PUBLISHED.metrics[column]] for row, column in cells
        ]
        assert heights(axes) == pytest.approx(expected)
        assert markers(axes) == [float(PUBLISHED.cell(table, row, column).printed) for row, column in cells]
        assert [label.get_text() for label in axes.get_xticklabels()] == rows
    assert set(words(figure)) >= {f"{value:.4f}" for value in expected}


def test_whiskers_are_of_one_kind_and_the_caption_says_which():
    value = values_of(PLACES[0])["image_auroc"]
    at = [values_of(PLACES[0], seed)["image_auroc"] for seed in (0, 9, 42)]
    for records, kind, expected, told in (
        (whole(PAPER, seeds=(0, 9, 42)), Whisker.SEEDS, (min(at), max(at)), "lowest to highest of the 3 seeds run."),
        (
            [*whole(PAPER), run_of(PLACES[0], PAPER, 1)],
            Whisker.INTERVAL,
            (value - 0.05, 1.0),
            "95 % interval over the test",
        ),
        ([run(place, record={"intervals": {}}) for place in PLACES], Whisker.NONE, None, "No whiskers"),
    ):
        judged = judge_store(records, PAPER)
        ours = [one for one in judged.judgements if one.cell.table == 1 and one.cell.metric]
        assert choose_whisker(ours) is kind
        found = whisker(ours[0], kind)
        assert found == (expected and pytest.approx(expected))
        assert told in caption(FIGURES[1], judged)
        if kind is Whisker.INTERVAL:  # a mean combines its categories' half-widths
            low, high = whisker(judged.cells[1, "Mean", "Pix F1"], kind)
            assert (high - low) / 2 == pytest.approx(0.04 / 3**0.5)


def test_a_cell_without_a_run_is_a_slot_that_says_why():
    records = [run_of(PLACES[0], PAPER), failed(CABLE)]
    figure = draw("fig2_mvtec", records)
    assert words(figure).count("failed") == words(figure).count("not run") == 4
    assert "No value: Cable (failed), Hazelnut (not run)." in caption(FIGURES[1], judge_store(records, PAPER))
    for axes in figure.axes:
        assert len(markers(axes)) == 6  # published all the same


def test_means_over_fewer_categories_are_slots_with_their_number():
    records = [one for one in whole(PAPER) if one.spec.category != "cable"]
    assert words(draw("fig7_datasets", records)).count("not run (2 of 3)") == 4
    assert words(draw("fig8_methods", records)).count("not run (2 of 3)") == 2
    assert "MVTec AD: not run (2 of 3)" in words(draw("fig9_radar", records))
    assert "MVTec AD (not run (2 of 3))" in caption(FIGURES[-1], judge_store(records, PAPER))


def test_backbones_figure_has_counted_parameters_and_their_ratio():
    figure = draw("fig3_backbones", whole(PAPER))
    assert {"2.8 M", "24.9 M", "ratio 8.9", "ResNet-18", "Wide-ResNet-50-2"} <= set(words(figure))
    assert heights(figure.axes[1]) == pytest.approx([2.782784, 24.862528])


def test_ours_are_red_and_theirs_blue():
    figure = draw("fig8_methods", whole(PAPER))
    for axes, column in zip(figure.axes, ("Img AUROC", "Pix AUROC"), strict=True):
        colours = [to_hex(patch.get_facecolor()).upper() for patch in axes.patches]
        assert colours == [THEIRS] * 6 + [OURS] * 2
        ends = [patch.get_x() + patch.get_width() for patch in axes.patches]
        literature = [row for row in PUBLISHED.table(6).names if not PUBLISHED.places(6, row)]
        assert ends[:6] == pytest.approx([float(PUBLISHED.cell(6, row, column).printed) for row in literature])


def test_the_radar_has_a_measured_and_a_published_profile_for_each_dataset():
    lines = [line for line in draw("fig9_radar", whole(PAPER)).axes[0].lines if len(line.get_xdata()) == 5]
    dashed = [np.hypot(*line.get_data())[:4] for line in lines if line.get_linestyle() == "--"]
    solid = [np.hypot(*line.get_data())[:4] for line in lines if line.get_linewidth() == 1.6]
    for row, profile in zip(PUBLISHED.table(5).names, dashed, strict=True):
        assert profile == pytest.approx([float(PUBLISHED.cell(5, row, column).printed) for column in PUBLISHED.metrics])
    places = [place for place in PLACES if place.dataset == "visa"]
    means = [np.mean([values_of(place)[metric] for place in places]) for metric in PUBLISHED.metrics.values()]
    assert solid[1] == pytest.approx(means)


def test_an_auroc_axis_begins_at_chance_unless_something_lies_below():
    high = Series("a", "#000000", (Bar(0.9, (0.6, 1.0), 0.5), Bar(None, None, None, "not run")))
    assert floor_of([high]) == 0.5
    assert floor_of([high, Series("b", "#000000", (Bar(0.9, (0.4, 1.0), 0.8),))]) == 0.0


@patient
@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(-1e9, 1e9, width=32)))
def test_scores_are_scaled_by_their_own_ends_or_by_given_ones(scores):
    plain = scores.astype(float)
    low, high = plain.min(), plain.max()
    own = np.zeros_like(plain) if low == high else (plain - low) / (high - low)
    assert np.allclose(unit_interval(scores), own, rtol=0, atol=1e-12)
    assert np.allclose(unit_interval(scores, (-2.0, 6.0)), np.clip((plain + 2) / 8, 0, 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("limits", [None, (0.0, 40.0)])
def test_an_overlay_is_the_image_under_the_coloured_map(limits):
    rng = np.random.default_rng(3)
    image, scores = rng.integers(0, 256, (24, 20, 3), dtype=np.uint8), rng.uniform(3, 50, (24, 20)).astype(np.float32)
    heatmap = jet(unit_interval(scores, limits))
    low, high = limits or (float(scores.min()), float(scores.max()))
    unit = np.clip((scores.astype(float) - low) / (high - low), 0, 1)
    assert (jet(unit_interval(np.full((4, 5), 7.0))) == (0, 0, 127)).all(), "a constant map is all blue"
    assert np.array_equal(heatmap, matplotlib.colormaps["jet"](unit, bytes=True)[..., :3])
    assert np.array_equal(blend(image, heatmap), np.rint(0.55 * image + 0.45 * heatmap.astype(float)))
    pillow = np.asarray(Image.blend(Image.fromarray(image), Image.fromarray(heatmap), 0.45))  # which cuts off
    assert (np.abs(blend(image, heatmap).astype(int) - pillow) <= 1).all()


@pytest.mark.parametrize("one_scale", [False, True])
def test_overlays_show_the_examples_by_the_papers_definition(one_scale):
    examples = make_examples()
    figure = draw_overlays(Exhibit(examples, "", "abc"), one_scale=one_scale)
    panels = [axes.images[0].get_array() for axes in figure.axes if axes.images][:12]
    limits = tuple(map(float, examples["map_range"])) if one_scale else None
    for index in range(4):
        image, heatmap = examples["images"][index], jet(unit_interval(examples["anomaly_maps"][index], limits))
        expected = (image, heatmap, blend(image, heatmap))
        for panel, picture in zip(panels[3 * index : 3 * index + 3], expected, strict=True):
            assert np.array_equal(np.asarray(panel)[..., :3], picture)
    found = words(figure)
    assert {"image", "score map", "overlay", "normal", "defective", "good/000.png", "bad/002.png"} <= set(found)
    assert ("0.5" in found and "30.0" in found) is one_scale
    assert any("White outline: ground truth." in text for text in found)


@pytest.mark.parametrize(
    ("change", "label"),
    [
        (lambda examples: None, "no examples.npz\nbeside the record"),
        (lambda examples: {key: examples[key] for key in examples if key != "images"}, "of another kind"),
        (lambda examples: examples | {"images": examples["images"][:, :5]}, "of another kind"),
        (lambda examples: examples | {"anomaly_maps": examples["anomaly_maps"] * np.nan}, "of another kind"),
    ],
)
def test_examples_that_are_missing_or_no_examples_are_labelled_slots(tmp_path, change, label):
    record = run_of(PLACES[0], SMOKE)
    exhibit = find_exhibit(
        judge_store([record], SMOKE), write_store(tmp_path, [record], change(make_examples())), OVERLAYS
    )
    assert (exhibit.arrays, exhibit.key) == (None, record.key)
    assert label in exhibit.absent
    assert words(draw_overlays(exhibit, one_scale=True)).count(exhibit.absent) == 12


def test_damaged_examples_and_no_run_are_labelled_too(tmp_path):
    record = run_of(PLACES[0], SMOKE)
    store = write_store(tmp_path, [record], make_examples())
    next(tmp_path.rglob("examples.npz")).write_bytes(b"PK\x03\x04 no archive")
    assert find_exhibit(judge_store([record], SMOKE), store, OVERLAYS).absent == "examples.npz\nis damaged"
    assert find_exhibit(judge_store([], SMOKE), store, OVERLAYS).absent == "not run"
    assert find_exhibit(judge_store([failed(PLACES[0], edition=SMOKE)], SMOKE), store, OVERLAYS).absent == "failed"


def test_too_few_images_leave_slots_and_names_of_files_never_break_the_figure():
    examples = make_examples(labels=(0, 1, 1))
    del examples["masks"]
    examples["paths"] = np.array(["b/test/good/$x_1$.png", "b/" + "long" * 30 + ".png", "b/\n\udcff.png"])
    found = words(draw_overlays(Exhibit(examples, "", "abc"), one_scale=False))
    assert found.count("no such image") == 3
    assert not any("ground truth" in text for text in found)
    assert {"good/$x_1$.png", "b/??.png"} <= set(found)
    assert max(map(len, (text for text in found if text.startswith("…")))) == 24


def test_pictures_of_real_images_are_drawn_into_local_only(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.report.style.FORMATS", ("svg", "png"))
    records = [run_of(PLACES[0], PAPER)]
    few = replace(PUBLISHED, figures=[figure for figure in FIGURES if figure.number == 4])
    judged = replace(judge_store(records, PAPER), published=few)
    render_figures(judged, write_store(tmp_path / "store", records, make_examples()), tmp_path)
    local = sorted(path.name for path in (tmp_path / "local").iterdir())
    assert local == [f"{stem}.{end}" for stem in ("fig4_overlays", "fig4_overlays_one_scale") for end in ("png", "svg")]
    placeholder = (tmp_path / "fig4_overlays.svg").read_text()
    assert placeholder.count("<image ") == 1  # the colour scale
    assert "<!-- Pictures of MVTec AD are not passed on with this repository. -->" in placeholder
    assert "<!-- Licence: CC BY-NC-SA 4.0. -->" in placeholder
    shown, bare = (
        {tuple(pixel) for pixel in np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)}
        for path in (tmp_path / "local" / "fig4_overlays.png", tmp_path / "fig4_overlays.png")
    )
    picture = {tuple(pixel) for pixel in make_examples()["images"][0].reshape(-1, 3)}
    assert picture <= shown  # so the next line would see them
    assert len(picture & bare) < 10


def test_figures_have_three_formats_without_dates_with_their_fonts_and_say_synthetic(rendered):
    for figure in FIGURES:
        svg, pdf, png = (
            (rendered / "figures" / f"{figure.stem}.{ending}").read_bytes() for ending in ("svg", "pdf", "png")
        )
        for mark in (b"<dc:date>", b"<text", matplotlib.__version__.encode()):
            assert mark not in svg  # every letter is drawn, so no reader needs the font
        assert pdf.startswith(b"%PDF-")
        assert b"/FontFile2" in pdf
        assert not any(mark in pdf for mark in (b"/Type3", b"Date"))
        assert not any(mark in png for mark in (b"tIME", b"Software", matplotlib.__version__.encode()))
        with Image.open(rendered / "figures" / f"{figure.stem}.png") as image:
            assert image.width >= 900
        comments = set(re.findall(r"<!-- (.*?) -->", svg.decode()))
        assert {"SYNTHETIC", "SYNTHETIC: drawn images"} <= comments
        assert f"<title>SYNTHETIC. Figure {figure.number}." in svg.decode()


def test_the_pipeline_shows_the_numbers_of_the_protocol():
    shown = " ".join(words(draw("fig1_pipeline", [])))
    numbers = "256×256 / 224×224 / batches of 16, / 56×56 / keep 100 of 448, / 256 of 1792 / ε = 0.01 / σ = 4"
    assert [text for text in numbers.split(" / ") if text not in shown] == []


def test_captions_say_everything_in_words(rendered):
    text = (rendered / "figures" / "captions.md").read_text()
    for figure in FIGURES:
        assert f"## {figure.stem}\n" in text
    assert text.count("SYNTHETIC: the images are drawn") == len(FIGURES)
    judged = judge_store(whole(SMOKE), SMOKE)
    value = f"{values_of(PLACES[0])['image_auroc']:.4f}"
    assert f"Bottle, Img AUROC: {value}, published 0.9952" in numbers(FIGURES[1], judged)
    assert numbers(FIGURES[0], judged) == ""
