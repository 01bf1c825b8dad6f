from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from harness.errors import RequestError
from harness.paper.model import PAPER, PAPER_METRICS, SMOKE, Place
from harness.report.cells import Spread, choose_spread, spread
from harness.report.figures import FIGURES, Inputs, caption, numbers, render_figures
from harness.report.figures_bars import Bar, Series, floor_of
from harness.report.figures_overlays import Exhibit, find_exhibit, overlays_figure, placeholder_figure
from harness.report.overlays import overlay
from harness.report.style import OURS, THEIRS, drawing, ink_on
from tests.paper.making import failed, run
from tests.report.stores import (
    PLACES,
    PUBLISHED,
    judged,
    make_examples,
    run_of,
    values_of,
    whole,
    write_store,
)

CABLE = Place("mvtec", "cable", "resnet18")
BARE = ["fig1_pipeline", "fig4_overlays", "fig4_overlays_one_scale"]


def inputs_of(records, edition, exhibit=None):
    if exhibit is None:
        arrays = make_examples() if edition.synthetic else None
        exhibit = Exhibit(edition.synthetic, arrays, "" if arrays else "not run", "")
    return Inputs(judged(records, edition), PUBLISHED, edition, exhibit)


def sheets(inputs):
    """Every figure, drawn on a canvas but not written."""
    with drawing():
        for figure in FIGURES:
            yield figure, prepared(figure.draw(inputs).figure)


def prepared(figure):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure).draw()
    return figure


def draw(stem, inputs):
    with drawing():
        return prepared(next(figure for figure in FIGURES if figure.stem == stem).draw(inputs).figure)


def texts(figure):
    """Every text that is shown, with its box in pixels."""
    from matplotlib.text import Text

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
    "smoke": lambda: inputs_of(whole(SMOKE), SMOKE),
    "smoke, nothing run": lambda: inputs_of([], SMOKE, Exhibit(True, None, "not run", "")),
    "paper, several seeds": lambda: inputs_of(whole(PAPER, seeds=(0, 1, 42)), PAPER),
    "paper, nothing run": lambda: inputs_of([], PAPER),
    "paper, some failed": lambda: inputs_of([run_of(PLACES[0], PAPER), failed(CABLE)], PAPER),
    "paper, low values": lambda: inputs_of([run(place, values=LOW) for place in PLACES], PAPER),
}
LOW = dict.fromkeys(values_of(PLACES[0]), 0.04)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_no_text_overlaps_another_or_leaves_the_sheet(situation):
    for figure, sheet in sheets(SITUATIONS[situation]()):
        shown = [(text, box) for text, box in texts(sheet) if text.get_text() != "SYNTHETIC"]
        page = sheet.bbox
        for text, box in shown:
            inside = page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
            assert inside, f"{figure.stem}: {text.get_text()!r} is cut off"
        for (one, first), (other, second) in itertools.combinations(shown, 2):
            across = min(first.x1, second.x1) - max(first.x0, second.x0)
            up = min(first.y1, second.y1) - max(first.y0, second.y0)
            # A pixel at 100 dpi is less than the room that a line keeps above and below its letters.
            assert across <= 1 or up <= 1, f"{figure.stem}: {one.get_text()!r} on {other.get_text()!r}"


@pytest.mark.parametrize(("stem", "table"), [("fig2_mvtec", 1), ("fig5_visa", 3), ("fig6_btad", 4)])
def test_category_bars_are_the_stores_values_and_markers_the_published(stem, table):
    figure = draw(stem, inputs_of(whole(PAPER), PAPER))
    layout = PUBLISHED.table(table)
    rows = [row for row in layout.rows if row != "Mean"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["(a) AUROC by category", "(b) F1 by category"]
    for axes, columns in zip(figure.axes, (("Img AUROC", "Pix AUROC"), ("Img F1", "Pix F1")), strict=True):
        cells = [(row, column) for column in columns for row in rows]
        expected = [values_of(layout.places[row][0])[PAPER_METRICS[column]] for row, column in cells]
        assert heights(axes) == pytest.approx(expected)
        assert markers(axes) == [float(PUBLISHED.cell(table, row, column).printed) for row, column in cells]
        assert [label.get_text() for label in axes.get_xticklabels()] == rows
    assert set(words(figure)) >= {f"{value:.4f}" for value in expected}


def test_whiskers_are_the_seeds_range_where_every_cell_has_seeds():
    judgements = judged(whole(PAPER, seeds=(0, 9, 42)), PAPER)
    ours = [one for one in judgements if one.cell.table == 1 and one.cell.metric]
    assert choose_spread(ours) is Spread.SEEDS
    at = [values_of(PLACES[0], seed)["image_auroc"] for seed in (0, 9, 42)]
    assert spread(ours[0], Spread.SEEDS) == (min(at), max(at))
    text = caption(FIGURES[1], inputs_of(whole(PAPER, seeds=(0, 9, 42)), PAPER))
    assert "Whiskers: lowest to highest of the 3 seeds run." in text


def test_whiskers_are_intervals_as_soon_as_one_cell_has_a_single_seed():
    records = [*whole(PAPER), run_of(PLACES[0], PAPER, 1)]
    ours = [one for one in judged(records, PAPER) if one.cell.table == 1 and one.cell.metric]
    assert choose_spread(ours) is Spread.INTERVAL
    value = values_of(PLACES[0])["image_auroc"]
    assert spread(ours[0], Spread.INTERVAL) == pytest.approx((value - 0.05, 1.0))
    mean = next(one for one in ours if one.cell.row == "Mean" and one.cell.column == "Pix F1")
    low, high = spread(mean, Spread.INTERVAL)
    assert (high - low) / 2 == pytest.approx(0.04 / 3**0.5)
    assert "95 % bootstrap interval" in caption(FIGURES[1], inputs_of(records, PAPER))


def test_records_without_intervals_have_no_whiskers_and_the_caption_says_so():
    records = [run(place, record={"intervals": {}}) for place in PLACES]
    assert choose_spread(judged(records, PAPER)) is Spread.NONE
    assert "No whiskers" in caption(FIGURES[1], inputs_of(records, PAPER))


def test_a_cell_without_a_run_is_a_slot_that_says_why():
    records = [run_of(PLACES[0], PAPER), failed(CABLE)]
    figure = draw("fig2_mvtec", inputs_of(records, PAPER))
    found = words(figure)
    assert found.count("failed") == 4
    assert found.count("not run") == 4
    assert "No value: Cable (failed), Hazelnut (not run)." in caption(FIGURES[1], inputs_of(records, PAPER))
    for axes in figure.axes:
        assert len(markers(axes)) == 6  # published all the same


def test_means_over_fewer_categories_are_slots_with_their_number():
    inputs = inputs_of([one for one in whole(PAPER) if one.spec.category != "cable"], PAPER)
    assert words(draw("fig7_datasets", inputs)).count("not run (2 of 3)") == 4
    assert words(draw("fig8_methods", inputs)).count("not run (2 of 3)") == 2
    assert "MVTec AD: not run (2 of 3)" in words(draw("fig9_radar", inputs))
    assert "MVTec AD (not run (2 of 3))" in caption(FIGURES[-1], inputs)


def test_backbones_figure_has_counted_parameters_and_their_ratio():
    figure = draw("fig3_backbones", inputs_of(whole(PAPER), PAPER))
    assert {"2.8 M", "24.9 M", "ratio 8.9", "ResNet-18", "Wide-ResNet-50-2"} <= set(words(figure))
    assert heights(figure.axes[1]) == pytest.approx([2.782784, 24.862528])


def test_ours_are_red_and_theirs_blue():
    from matplotlib.colors import to_hex

    figure = draw("fig8_methods", inputs_of(whole(PAPER), PAPER))
    for axes, column in zip(figure.axes, ("Img AUROC", "Pix AUROC"), strict=True):
        colours = [to_hex(patch.get_facecolor()).upper() for patch in axes.patches]
        assert colours == [THEIRS] * 6 + [OURS] * 2
        ends = [patch.get_x() + patch.get_width() for patch in axes.patches]
        assert ends[:6] == pytest.approx(
            [float(PUBLISHED.cell(6, one.method, column).printed) for one in PUBLISHED.baselines]
        )


def test_the_radar_has_a_measured_and_a_published_profile_for_each_dataset():
    figure = draw("fig9_radar", inputs_of(whole(PAPER), PAPER))
    outlines = [
        line for line in figure.axes[0].lines if len(line.get_xdata()) == 5 and line.get_linewidth() in (1.0, 1.6)
    ]
    dashed = [np.hypot(*line.get_data())[:4] for line in outlines if line.get_linestyle() == "--"]
    solid = [np.hypot(*line.get_data())[:4] for line in outlines if line.get_linestyle() == "-"]
    for row, profile in zip(PUBLISHED.table(5).rows, dashed, strict=True):
        assert profile == pytest.approx([float(PUBLISHED.cell(5, row, column).printed) for column in PAPER_METRICS])
    places = [place for place in PLACES if place.dataset == "visa"]
    means = [np.mean([values_of(place)[metric] for place in places]) for metric in PAPER_METRICS.values()]
    assert solid[1] == pytest.approx(means)


def test_an_auroc_axis_begins_at_chance_unless_something_lies_below():
    high = Series("a", "#000000", (Bar(0.9, (0.6, 1.0), 0.5),))
    assert floor_of([high]) == 0.5
    assert floor_of([high, Series("b", "#000000", (Bar(0.9, (0.4, 1.0), 0.8),))]) == 0.0
    assert floor_of([Series("b", "#000000", (Bar(None, None, None, "not run"),))]) == 0.5


@pytest.mark.parametrize(("colour", "ink"), [("#0072B2", "#FFFFFF"), ("#E69F00", "#000000"), ("#000000", "#FFFFFF")])
def test_ink_is_readable(colour, ink):
    assert ink_on(colour) == ink


@pytest.mark.parametrize("one_scale", [False, True])
def test_overlays_show_the_examples_by_the_papers_definition(one_scale):
    arrays = make_examples()
    with drawing():
        sheet = overlays_figure(Exhibit(True, arrays, "", "abc"), PUBLISHED, SMOKE, one_scale=one_scale)
    panels = [axes.images[0].get_array() for axes in sheet.figure.axes if axes.images][:12]
    limits = tuple(map(float, arrays["map_range"])) if one_scale else None
    for index in range(4):
        expected = overlay(arrays["images"][index], arrays["anomaly_maps"][index], limits)
        for panel, picture in zip(
            panels[3 * index : 3 * index + 3], (expected.image, expected.heatmap, expected.overlay), strict=True
        ):
            assert np.array_equal(np.asarray(panel)[..., :3], picture)
    found = words(prepared(sheet.figure))
    assert {"image", "score map", "overlay", "normal", "defective", "good/000.png", "bad/002.png"} <= set(found)
    assert ("0.5" in found and "30.0" in found) is one_scale
    assert any("White outline: ground truth." in text for text in found)


@pytest.mark.parametrize(
    ("change", "label"),
    [
        (lambda arrays: None, "no examples.npz\nbeside the record"),
        (lambda arrays: {key: arrays[key] for key in arrays if key != "images"}, "examples.npz is\nof another kind"),
        (lambda arrays: arrays | {"images": arrays["images"][:, :5]}, "examples.npz is\nof another kind"),
        (lambda arrays: arrays | {"images": arrays["images"].astype(float)}, "examples.npz is\nof another kind"),
        (lambda arrays: arrays | {"labels": arrays["labels"][:2]}, "examples.npz is\nof another kind"),
        (lambda arrays: arrays | {"map_range": np.array([1, 2])}, "examples.npz is\nof another kind"),
        (lambda arrays: arrays | {"masks": arrays["masks"][0]}, "examples.npz is\nof another kind"),
        (
            lambda arrays: arrays | {"anomaly_maps": arrays["anomaly_maps"] * np.nan},
            "examples.npz holds\nno finite maps",
        ),
        (lambda arrays: arrays | {"map_range": arrays["map_range"][::-1]}, "examples.npz holds\nno finite maps"),
    ],
)
def test_examples_that_are_missing_or_no_examples_are_labelled_slots(tmp_path, change, label):
    record = run_of(PLACES[0], SMOKE)
    store = write_store(tmp_path, [record], change(make_examples()))
    exhibit = find_exhibit(judged([record], SMOKE), [record], PUBLISHED, SMOKE, store)
    assert (exhibit.arrays, exhibit.absent, exhibit.key) == (None, label, record.key)
    with drawing():
        sheet = overlays_figure(exhibit, PUBLISHED, SMOKE, one_scale=True)
    assert words(prepared(sheet.figure)).count(label) == 12


def test_damaged_examples_are_labelled_slots(tmp_path):
    record = run_of(PLACES[0], SMOKE)
    store = write_store(tmp_path, [record], make_examples())
    next(tmp_path.rglob("examples.npz")).write_bytes(b"PK\x03\x04 no archive")
    exhibit = find_exhibit(judged([record], SMOKE), [record], PUBLISHED, SMOKE, store)
    assert exhibit.absent == "examples.npz\nis damaged"


def test_too_few_images_leave_labelled_slots():
    arrays = make_examples(labels=(0, 1, 1))
    del arrays["masks"]
    with drawing():
        sheet = overlays_figure(Exhibit(True, arrays, "", "abc"), PUBLISHED, SMOKE, one_scale=False)
    found = words(prepared(sheet.figure))
    assert found.count("no such image") == 3
    assert not any("ground truth" in text for text in found)


def test_file_names_are_shown_as_they_are_but_never_break_the_figure():
    arrays = make_examples()
    arrays["paths"] = np.array(["b/test/good/$x_1$.png", "b/" + "long" * 30 + ".png", "b/\n\udcff.png", "x"])
    with drawing():
        sheet = overlays_figure(Exhibit(True, arrays, "", "abc"), PUBLISHED, SMOKE, one_scale=False)
    found = words(prepared(sheet.figure))
    assert "good/$x_1$.png" in found
    assert "b/??.png" in found
    assert max(map(len, (text for text in found if text.startswith("…")))) == 24


def test_without_a_run_figure_4_says_so(tmp_path):
    exhibit = find_exhibit(judged([], SMOKE), [], PUBLISHED, SMOKE, write_store(tmp_path, []))
    assert (exhibit.arrays, exhibit.absent, exhibit.key) == (None, "not run", "")
    bad = [failed(PLACES[0], edition=SMOKE)]
    assert find_exhibit(judged(bad, SMOKE), bad, PUBLISHED, SMOKE, write_store(tmp_path, bad)).absent == "failed"


def test_pictures_of_real_images_are_drawn_into_local_only(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.report.figures.FIGURES", [figure for figure in FIGURES if figure.number == 4])
    record = run_of(PLACES[0], PAPER)
    arrays = make_examples()
    store = write_store(tmp_path / "store", [record], arrays)
    exhibit = find_exhibit(judged([record], PAPER), [record], PUBLISHED, PAPER, store)
    assert exhibit.arrays is not None
    render_figures(inputs_of([record], PAPER, exhibit), tmp_path / "with")
    local = sorted(path.name for path in (tmp_path / "with" / "local").iterdir())
    assert local == [f"{stem}.{ending}" for stem in BARE[1:] for ending in ("pdf", "png", "svg")]

    bare = write_store(tmp_path / "clone", [record])
    exhibit = find_exhibit(judged([record], PAPER), [record], PUBLISHED, PAPER, bare)
    render_figures(inputs_of([record], PAPER, exhibit), tmp_path / "without")
    assert "no examples.npz" in (tmp_path / "without" / "local" / "fig4_overlays.svg").read_text()
    for path in (tmp_path / "without").glob("*.*"):
        assert path.read_bytes() == (tmp_path / "with" / path.name).read_bytes(), path.name
    placeholder = (tmp_path / "with" / "fig4_overlays.svg").read_text()
    assert placeholder.count("<image ") == 1  # the colour scale
    assert "<!-- Pictures of MVTec AD are not passed on with this repository. -->" in placeholder
    assert "<!-- Licence: CC BY-NC-SA 4.0. -->" in placeholder
    pixels = np.asarray(Image.open(tmp_path / "with" / "local" / "fig4_overlays.png").convert("RGB")).reshape(-1, 3)
    shown = {tuple(pixel) for pixel in pixels}
    picture = {tuple(pixel) for pixel in arrays["images"][0].reshape(-1, 3)}
    assert picture <= shown  # so the test below would see them
    bare_pixels = np.asarray(Image.open(tmp_path / "with" / "fig4_overlays.png").convert("RGB")).reshape(-1, 3)
    assert len(picture & {tuple(pixel) for pixel in bare_pixels}) < 10


RENDER = """
import sys
from pathlib import Path
from harness.paper.model import SMOKE
from tests.report.stores import write_store, whole, make_examples
from scripts.render import main
sys.exit(main(["--store", sys.argv[1], "--edition", "smoke", "--figures", sys.argv[2], "--tables", sys.argv[3]]))
"""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory, project):
    """The smoke edition written twice by processes that share nothing but the store."""
    base = tmp_path_factory.mktemp("rendered")
    write_store(base / "store", whole(SMOKE), make_examples())
    folders = []
    for name, seed, zone in (("one", "0", "UTC"), ("other", "4242", "Asia/Tokyo")):
        working = base / f"cwd-{name}"
        working.mkdir()
        settings = "font.size: 30\nsvg.fonttype: none\nimage.lut: 7\ntext.usetex: False\n" if name == "other" else ""
        (working / "matplotlibrc").write_text(settings)
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "PYTHONPATH": str(project)}
        environment.pop("SOURCE_DATE_EPOCH", None)
        command = [sys.executable, "-c", RENDER, base / "store", base / name / "figures", base / name / "tables"]
        subprocess.run(command, cwd=working, env=environment, check=True, timeout=240)
        folders.append(base / name)
    return folders


def test_every_regeneration_gives_the_same_bytes(rendered):
    one, other = rendered
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
    assert len(files) == 36 + 3 * len(FIGURES) + 1
    for file in files:
        assert (one / file).read_bytes() == (other / file).read_bytes(), file


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.stem)
def test_each_figure_is_there_in_three_formats_without_dates_and_with_its_fonts(rendered, figure):
    folder = rendered[0] / "figures"
    svg = (folder / f"{figure.stem}.svg").read_text()
    pdf = (folder / f"{figure.stem}.pdf").read_bytes()
    png = (folder / f"{figure.stem}.png").read_bytes()
    assert svg.startswith("<?xml")
    assert "<dc:date>" not in svg
    assert "<text" not in svg  # every letter is drawn, so no reader needs the font
    assert pdf.startswith(b"%PDF-")
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"Date" not in pdf
    with Image.open(folder / f"{figure.stem}.png") as image:
        assert image.width >= 900
        assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)
    assert b"tIME" not in png
    assert b"Software" not in png
    assert matplotlib.__version__.encode() not in svg.encode() + png


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("fig1_pipeline", ["Training", "Inference", "EfficientNet-Lite0", "Mahalanobis distance M(i, j)", "256×256"]),
        ("fig2_mvtec", ["Bottle", "Cable", "Hazelnut", "95 % interval of seed 42", "published, on photographs"]),
        ("fig3_backbones", ["EfficientNet-Lite0", "EfficientNet-Lite2", "0.7 M", "1.2 M", "(b) Parameters"]),
        ("fig4_overlays", ["image", "score map", "overlay", "normal", "defective", "each map on its own scale"]),
        ("fig4_overlays_one_scale", ["one scale for all test images", "0.5", "30.0"]),
        ("fig5_visa", ["Candle", "PCB1", "Cashew", "(a) AUROC by category", "(b) F1 by category"]),
        ("fig6_btad", ["01", "02", "03", "Image level", "Pixel level"]),
        ("fig7_datasets", ["mini MVTec AD (3)", "mini VisA (3)", "mini BTAD (3)", "Pixel F1"]),
        ("fig8_methods", ["PatchCore", "PaDiM-EfficientNet-Lite0 (Ours)*", "0.991", "published baselines"]),
        ("fig9_radar", ["mini VisA", "Image AUROC", "1.0"]),
    ],
)
def test_each_figure_says_what_it_should(rendered, stem, expected):
    svg = (rendered[0] / "figures" / f"{stem}.svg").read_text()
    comments = set(re.findall(r"<!-- (.*?) -->", svg))
    assert {*expected, "SYNTHETIC", "SYNTHETIC: drawn images"} <= comments
    assert f"<title>SYNTHETIC. Figure {stem[3]}." in svg


def test_captions_say_everything_in_words(rendered):
    text = (rendered[0] / "figures" / "captions.md").read_text()
    for figure in FIGURES:
        assert f"## {figure.stem}\n" in text
    assert text.count("SYNTHETIC: the images are drawn") == len(FIGURES)
    inputs = inputs_of(whole(SMOKE), SMOKE)
    value = f"{values_of(PLACES[0])['image_auroc']:.4f}"
    assert f"Bottle, Img AUROC: {value}, published 0.9952" in numbers(FIGURES[1], inputs)
    assert numbers(FIGURES[0], inputs) == ""


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match=r"file.*cannot be written"):
        render_figures(inputs_of([], PAPER), Path(tmp_path, "file"))


def test_placeholders_need_no_store():
    with drawing():
        sheet = placeholder_figure(PUBLISHED, PAPER, one_scale=False)
    assert any("make figures" in text for text in words(prepared(sheet.figure)))
