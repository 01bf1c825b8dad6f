"""The published values against the paper's text, and against counts that were made on it once."""

from __future__ import annotations

import re

import pytest

from harness.config.keys import protocol_settings
from harness.papers.model import Quantity
from tests.papers.making import PUBLISHED


def _printed_tables(text: str) -> dict[int, list[list[str]]]:
    """Header and rows of Tables 1 to 6, as the paper's text sets them apart by tabs."""
    tables = {}
    for caption in re.finditer(r"^Table (\d)\. .*$", text, re.MULTILINE):
        block = text[caption.end() :].lstrip("\n").split("\n\n")[0]
        tables[int(caption[1])] = [line.split("\t") for line in block.splitlines()]
    return tables


def test_every_table_is_the_papers_cell_by_cell(published, paper_text):
    printed = _printed_tables(paper_text)
    assert sorted(printed) == [1, 2, 3, 4, 5, 6]
    for table in published.tables:
        header, *rows = printed[table.number]
        count = sum(len(row) - 1 for row in rows) - sum(len(row.texts) for row in table.rows)
        assert count == sum(
            cell.table == table.number and cell.quantity is not Quantity.PARAMETERS for cell in published.cells
        )
        assert table.columns == tuple(header)
        assert table.names == tuple(row[0] for row in rows)
        for row in rows:
            for column, text in zip(header[1:], row[1:], strict=True):
                if column in table.row(row[0]).texts:
                    assert table.row(row[0]).texts[column] == text
                else:
                    assert published.cell(table.number, row[0], column).printed == text


def test_captions_and_notes_are_the_papers(published, paper_text):
    flat = " ".join(paper_text.split())
    for table in published.tables:
        assert f"Table {table.number}. {table.title}" in flat
        for note in table.notes:
            assert note in flat


def test_stated_settings_quote_the_paper(published, paper_text):
    flat = " ".join(paper_text.replace("$\\epsilon=0.01$", "ε = 0.01").replace("$\\alpha=0.45$", "α = 0.45").split())
    for setting in published.about.settings:
        if setting.value is not None:
            quotation = setting.says.partition(";")[0]
            assert quotation in flat, setting.name


@pytest.mark.parametrize(
    ("name", "value"),
    [("resize", [256, 256]), ("centre crop", [224, 224]), ("epsilon", 0.01), ("batch size", 16)],
)
def test_stated_settings_are_the_protocols(published, name, value):
    setting = next(setting for setting in published.about.settings if setting.name == name)
    assert protocol_settings("paper", model="padim", backbone="resnet18")[setting.field] == value
    numbers = [float(number) for number in re.findall(r"[\d.]+", setting.value)]
    assert numbers == (value if isinstance(value, list) else [value])


def test_settings_without_a_value_say_what_the_harness_chose(published):
    open_ones = [setting for setting in published.about.settings if setting.value is None]
    assert {"seed", "weights", "kept features, ResNet-18", "map smoothing"} <= {setting.name for setting in open_ones}
    assert all(setting.choice for setting in open_ones)


def test_cells_know_their_metric_and_places(published):
    bottle = published.cell(1, "Bottle", "Img F1")
    assert bottle.metric == "image_f1_strict"
    assert [place.category for place in bottle.places] == ["bottle"]
    mean = published.cell(5, "VisA", "Pix AUROC")
    assert [place.category for place in mean.places] == ["candle", "pcb1", "cashew"]
    wide = published.cell(6, "PaDiM-WRN-50-2 (Ours, Bottle)", "Pix AUROC")
    assert [place.backbone for place in wide.places] == ["wide_resnet50_2"]
    for cell in published.cells:
        literature = cell.table == 6 and not cell.places
        counted = cell.quantity is not None
        assert (cell.metric is None) == (literature or counted)
        if cell.metric is not None:
            assert cell.metric == PUBLISHED.metrics[cell.column]
