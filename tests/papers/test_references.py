"""Other people's numbers: equal to the lists they were copied from, and the bottle's measured with their protocols."""

from __future__ import annotations

import csv

import pytest

from harness.papers.audit import replace_between
from harness.papers.model import Verdict
from harness.papers.reading import load_published
from harness.papers.selection import measure
from harness.papers.sources import BEGIN, END, Cell, all_papers, cell_lines, explain, numbers_by_cell, numbers_markdown
from harness.papers.verdict import judge_all, judge_rows
from harness.store import Store, load_frame
from tests.papers.making import BOTTLE

SOURCES = {
    "ader_patchcore": 140,
    "anomalib_readme_padim": 96,
    "anomalib_readme_patchcore": 96,
    "aupimo_benchmark_padim": 216,
    "xiahaifeng_padim": 72,
}
"""Source -> how many numbers it published."""


@pytest.mark.parametrize("source", SOURCES)
def test_the_numbers_are_the_lists_digit_by_digit(project, source):
    path = project.parent / "shared" / "references" / f"{source}.csv"
    if not path.is_file():
        pytest.skip("the lists are not beside the checkout (../shared/references)")
    with open(path, encoding="utf-8", newline="") as file:
        listed = {
            (one["dataset"], one["backbone"], one["category"], f"{one['level']}_{one['metric']}"): one["value"]
            for one in csv.DictReader(file)
        }
    published = load_published(source)
    titles = {table.number: table.title for table in published.tables}
    ours = {
        (cell.places[0].dataset, cell.places[0].backbone, cell.row, published.columns[cell.column]): cell.printed
        for cell in published.cells
    }
    assert len(published.cells) == SOURCES[source]
    assert ours == listed
    assert len(set(titles.values())) == len(titles)


@pytest.mark.parametrize("source", SOURCES)
def test_a_number_that_may_not_be_compared_carries_the_reason(source):
    published = load_published(source)
    assert all((cell.metric is None) == bool(cell.not_comparable) for cell in published.cells)
    compared = any(cell.metric for cell in published.cells)
    effects = {caution.effect for caution in published.about.cautions}
    assert effects
    assert compared == ("not comparable" not in effects)
    assert all(setting.value or setting.choice for setting in published.about.settings)


@pytest.fixture(scope="module")
def records(project):
    return Store(project / "results" / "references").records().records


def judged(source, records):
    published = load_published(source)
    edition = published.editions["paper"]
    judgements = judge_all(published, measure(records, edition, published=published), edition)
    return published, [one for one in judgements if one.cell.row == "bottle" and one.measured.by_seed]


def test_xiahaifengs_bottle_is_within_002_at_its_own_seed(records):
    published, bottle = judged("xiahaifeng_padim", records)
    assert published.about.declared_seed == 1024
    assert {one.cell.column: one.cell.printed for one in bottle} == {"image AUROC": "0.996", "pixel AUROC": "0.981"}
    assert all(abs(one.difference) < 0.002 for one in bottle)
    (row,) = judge_rows(bottle, published.editions["paper"])
    assert row.verdict is Verdict.CONSISTENT


def test_anomalibs_bottle_of_2021_can_be_one_more_seeds(records):
    published, bottle = judged("anomalib_readme_padim", records)
    verdicts = {one.cell.column: (one.cell.printed, one.verdict) for one in bottle}
    assert verdicts == {
        "image AUROC": ("0.994", Verdict.CONSISTENT),
        "pixel AUROC": ("0.983", Verdict.MATCH),
        "image F1-max": ("0.976", Verdict.CONSISTENT),
    }
    assert {len(one.measured.by_seed) for one in bottle} == {11}
    (row,) = judge_rows(bottle, published.editions["paper"])
    assert row.verdict is Verdict.CONSISTENT
    assert row.test is not None
    assert 0.1 < row.test.p < 0.2


def test_the_document_is_up_to_date(project, records):
    path = project / "docs" / "published-numbers.md"
    both = [*Store(project / "results").records().records, *records]
    again = replace_between(path.read_text(), BEGIN, END, numbers_markdown(all_papers(), both))
    assert again == path.read_text(), "run python -m harness.papers numbers --write docs/published-numbers.md"


BOTTLE_AUROC = Cell(BOTTLE, "pixel_auroc")


def test_everybodys_number_stands_beside_ours(records):
    numbers = numbers_by_cell(all_papers(), records)[BOTTLE_AUROC]
    by_source = {one.source.id: one.judgement.verdict for one in numbers}
    assert by_source == {
        "anomalib_readme_padim": Verdict.MATCH,
        "aupimo_benchmark_padim": Verdict.NOT_COMPARABLE,
        "melleng_padim": Verdict.NOT_RUN,
        "xiahaifeng_padim": Verdict.CONSISTENT,
    }
    text = "\n".join(cell_lines({BOTTLE_AUROC: numbers}))
    assert "    aupimo_benchmark_padim: at the masks' full resolution" in text
    assert "interpolation=lanczos" in text


def test_what_one_setting_alone_moves_is_measured(project):
    """Without the crop pixel AUROC is higher by .004: the same from the table of all runs."""
    store = project / "results" / "settings"
    records = Store(store).records().records
    moved = explain("paper", "anomalib_2021", BOTTLE, records)
    assert list(moved) == ["preprocessing.antialias", "preprocessing.center_crop"]
    gap, n = moved["preprocessing.center_crop"]["pixel_auroc"]
    assert (round(gap, 4), n) == (0.0040, 11)
    frame = load_frame(store)
    same = {
        "model.index_sampler": "anomalib_v1",
        "model.n_features": 100,
        "model.epsilon": 0.01,
        "model.blur_sigma": 4,
        "preprocessing.resize": "[256,256]",
        "preprocessing.interpolation": "bilinear",
        "preprocessing.antialias": True,
    }
    frame = frame[(frame[list(same)] == list(same.values())).all(axis=1)]
    whole = frame[frame["preprocessing.center_crop"].isna()].set_index("seed")["pixel_auroc"]
    cropped = frame[frame["preprocessing.center_crop"] == "[224,224]"].set_index("seed")["pixel_auroc"]
    assert len(whole) == len(cropped) == 11
    assert gap == pytest.approx((whole - cropped).mean(), rel=1e-12)
    assert explain("paper", "paper", BOTTLE, records) == {}
