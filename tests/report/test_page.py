"""The report page: everything is there, nothing in it is foreign, and it can be read by everyone."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from harness.errors import RequestError
from harness.papers.model import Verdict
from harness.report.page import TEMPLATES, link_keys, load_pictures
from harness.report.page_runs import describe_runs
from tests.papers.making import PAPER, SMOKE
from tests.report.pages import SVG, draw_figures, make_page, read_page
from tests.report.stores import PLACES, judge_store, run_of, whole
from tests.store.making import make_failed, make_ok, make_parts, make_spec

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def records():
    return [*whole(PAPER, seeds=(0, 42)), make_failed(make_spec(category="toothbrush"))]


@pytest.fixture(scope="module")
def path(tmp_path_factory, records):
    problem = "/somewhere/else/store/runs/mvtec/x/y/seed1-000000000000/record.json: is no record"
    return make_page(tmp_path_factory.mktemp("page") / "report.html", records, PAPER, problems=[problem])


@pytest.fixture(scope="module")
def page(path):
    return read_page(path)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    return read_page(make_page(tmp_path_factory.mktemp("smoke") / "report.html", whole(SMOKE), SMOKE))


def rows_of(page, identifier):
    return [[cell.text for cell in row.all("th", "td")] for row in page.by_id(identifier).all("tr")]


def test_the_same_store_gives_the_same_bytes_in_any_order(path, records, tmp_path):
    problem = "/another/place/runs/mvtec/x/y/seed1-000000000000/record.json: is no record"
    again = make_page(tmp_path / "again.html", records[::-1], PAPER, problems=[problem])
    assert again.read_bytes() == path.read_bytes()


def test_nothing_is_fetched_and_every_link_leads_somewhere(page):
    identifiers = [element.attributes["id"] for element in page.all() if "id" in element.attributes]
    assert [name for name, count in Counter(identifiers).items() if count > 1] == []
    links = [element.attributes["href"] for element in page.all("a")]
    assert len(links) > 60
    assert {link for link in links if link[:1] != "#" or link[1:] not in identifiers} == set()
    assert all(element.attributes["src"].startswith("data:image/") for element in page.all("img"))
    assert not page.all("link", "iframe", "object", "embed", "form", "base")
    style = page.all("style")[0].text
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_allows_exactly_our_own_style_and_script(path):
    text = path.read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src &#39;sha256-{digest}&#39;" in policy
    assert policy.startswith("default-src &#39;none&#39;; img-src data:;")
    assert "unsafe" not in policy
    assert 'style="' not in text, "an inline style would be blocked"


def test_headings_go_down_one_step_at_a_time_and_sections_are_named(page):
    levels = [int(element.tag[1]) for element in page.all("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    names = [heading.text for heading in page.all("h2")]
    assert names == [
        "Summary", "Tables", "Figures", "Audit of the paper", "Runs", "Failures", "Reproduce it", "About this page",
    ]  # fmt: skip


def test_every_table_has_a_caption_and_scoped_headers(page):
    tables = page.all("table")
    assert len(tables) > 15
    assert len({table.all("caption")[0].text for table in tables}) == len(tables)
    for table in tables:
        heads = [cell for row in table.all("thead") for cell in row.all("th")]
        assert all(cell.attributes.get("scope") == "col" for cell in heads)
        assert all(cell.attributes.get("scope") == "row" for body in table.all("tbody") for cell in body.all("th"))
        for row in table.all("tbody")[0].all("tr"):
            assert len(row.all("th", "td")) == len(heads)
            assert all(cell.text for cell in row.all("th", "td")), "a cell is never a blank"


def test_every_figure_has_a_caption_and_an_alternative_text(page, smoke):
    for one in (page, smoke):
        figures = one.all("figure")
        assert len(figures) == 10
        for figure in figures:
            assert len(figure.all("img")[0].attributes["alt"]) > 60
            assert len(figure.all("figcaption")[0].text) > 40
    words = page.by_id("fig2-mvtec").all("details")[0].text
    assert "Bottle, Img AUROC: 0.9956, published 0.9952" in words


def test_the_summary_counts_what_the_judgements_say(page, records):
    ours = [one for one in judge_store(records, PAPER).judgements if one.cell.metric is not None]
    counts = Counter(one.verdict for one in ours)
    rows = rows_of(page, "verdicts-by-table")
    assert [int(text) for text in rows[-1][1:]] == [*(counts[verdict] for verdict in Verdict), len(ours)]
    tiles = {tile.all("span")[1].text: int(tile.all("span")[0].text) for tile in page.all("ul")[2].all("li")}
    assert tiles == {verdict.value: counts[verdict] for verdict in Verdict}
    bar = page.all("svg")[0]
    assert sum(int(part.attributes["width"]) for part in bar.all("rect")) == len(ours)


def test_smoke_is_marked_everywhere_and_paper_nowhere(page, smoke):
    assert smoke.all("title")[0].text.startswith("SYNTHETIC")
    assert smoke.all("h1")[0].text.startswith("SYNTHETIC")
    assert "SYNTHETIC" in smoke.all("p")[0].text
    titles = [heading.text for heading in smoke.all("h3") if re.search(r"\bTable \d\.", heading.text)]
    assert len(titles) == 6
    assert all("SYNTHETIC" in title for title in titles)
    assert all("SYNTHETIC" in figure.all("figcaption")[0].text for figure in smoke.all("figure"))
    assert all("SYNTHETIC" in image.attributes["alt"] for image in smoke.all("img"))
    assert "SYNTHETIC" not in page.text


def test_every_run_has_its_details(page, records):
    for record in records:
        details = page.by_id(f"run-{record.key}")
        assert details.tag == "details"
        headings = [heading.text for heading in details.all("h4")]
        wanted = ["Settings", "Images", "Cost", "Made", "Again"]
        assert headings == [*(["Failure"] if record.error else ["Metrics"]), *wanted]
        assert record.spec.backbone.weights_digest in details.text
    assert len(rows_of(page, "runs-all")) == len(records) + 1
    metrics = rows_of(page, f"metrics-{records[0].key}")
    assert ["Image AUROC", f"{records[0].values['image_auroc']:.6f}"] == metrics[1][:2]
    assert [row[0] for row in rows_of(page, f"times-{records[0].key}")[1:]] == [
        "decode", "backbone", "test images scored",
    ]  # fmt: skip


def test_a_run_that_no_table_takes_says_why_in_the_list_of_all_runs():
    records = [make_ok(make_spec(seed=7, engine=engine)) for engine in ("streaming+bf16", "reference")]
    overview = describe_runs(records).overview
    assert {row[-1].text for row in overview.rows} == {"paper, streaming+bf16", "paper, reference"}


def test_runs_that_differ_only_in_a_setting_are_told_apart_in_the_list_of_all_runs():
    plain, other = make_spec(seed=7)["fingerprint"][:12], "9" * 12
    told = [
        (make_ok(spec), f"paper, epsilon {epsilon}, fingerprint {fingerprint}, n_features {n}")
        for spec, epsilon, fingerprint, n in (
            (make_spec(seed=7), 0.01, plain, 100),
            (make_spec(seed=8), 0.01, plain, 100),
            (make_spec(seed=7, epsilon=1.0), 1.0, plain, 100),
            (make_spec(seed=7, n_features=50), 0.01, plain, 50),
            (make_spec(seed=7, fingerprint="9" * 64), 0.01, other, 100),
        )
    ]
    named = make_ok(make_spec(seed=7, epsilon=0.01001, center_crop=None), protocol_name="anomalib_v2")
    rows = describe_runs([*(record for record, _ in told), named]).overview.rows
    texts = {row[0].text: row[-1].text.replace("\N{NO-BREAK SPACE}", " ") for row in rows}
    assert texts.pop(named.key).startswith("anomalib_v2, epsilon 0.01001, ")
    assert texts == {record.key: text for record, text in told}
    alike = [make_ok(make_spec(seed=7)), named]
    assert {row[-1].text for row in describe_runs(alike).overview.rows} == {"paper", "anomalib_v2"}


def test_failures_and_damaged_files_are_listed_without_the_machines_paths(page):
    rows = rows_of(page, "failed-runs")
    assert [row[2] for row in rows[1:]] == ["toothbrush"]
    assert "is truncated" in rows[1][-1]
    assert "runs/mvtec/x/y/seed1-000000000000/record.json: is no record" in page.text
    assert "/somewhere" not in page.text


def test_runs_made_in_the_same_environment_share_its_description(tmp_path):
    other = make_parts()["environment"].model_copy(update={"packages": {"torch": "9.9"}})
    records = [run_of(PLACES[0], PAPER, seed) for seed in (1, 2)]
    records.append(make_ok(make_spec(category="pill"), environment=other))
    page = read_page(make_page(tmp_path / "report.html", records, PAPER, findings=()))
    assert [page.by_id(f"environment-{i}").all("summary")[0].text for i in (1, 2)] == [
        "Environment 1: 2 runs",
        "Environment 2: 1 run",
    ]
    assert "9.9" in page.by_id("environment-2").text


def test_an_empty_store_gives_a_page_that_says_so(tmp_path):
    page = read_page(make_page(tmp_path / "report.html", [], PAPER, figures=[], findings=()))
    assert "None of the 72 published numbers that a run can give has been run yet." in page.text
    for text in ("The store holds no runs.", "No run failed.", "No figure was drawn", "There are no findings."):
        assert text in page.text
    assert "nan" not in page.text.lower().split()


def test_pictures_of_real_images_never_come_into_the_page(tmp_path):
    public = draw_figures(tmp_path / "figures")
    private = draw_figures(tmp_path / "figures" / "local")
    for path in private:
        path.write_text(SVG.replace("#0072b2", "#ff0000"))
    pictures = load_pictures([*private, *public])
    assert len(pictures) == 10
    assert all(b"#0072b2" in base64.b64decode(source.split(",")[1]) for source in pictures.values())


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="cannot be written"):
        make_page(tmp_path / "file" / "report.html", [], PAPER, findings=(), figures=[])


def test_only_keys_that_are_on_the_page_are_linked():
    line = "Runs: seed 1 0123456789ab, seed 2 ffffffffffff; 0123456789abcdef."
    parts = link_keys(line, {"0123456789ab"})
    assert "".join(text for text, _ in parts) == line
    assert [part for part in parts if part[1]] == [("0123456789ab", "#run-0123456789ab")]


def _luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """WCAG 2's contrast ratio."""
    bright, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_texts_have_contrast_in_light_in_dark_and_on_paper():
    style = (TEMPLATES / "page.css").read_text()
    schemes = [
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", style, re.S)
    ]
    assert len(schemes) == 3
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    light = schemes[0]
    for scheme in schemes:
        colours = light | scheme
        for ground in ("ground", "raised"):
            for ink in ("ink", "muted", "link"):
                assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
        for badge in ("match", "consistent", "toofew", "differs", "notrun", "notcomparable", "banner"):
            assert contrast(colours[f"{badge}-ink"], colours[f"{badge}-tint"]) >= 4.5, badge


def test_it_needs_neither_torch_nor_a_second_look_at_the_store():
    code = (
        "import sys; from harness.report.page import Extras, render_page; from tests.papers.making import PAPER; "
        "from tests.report.stores import judge_store; from harness.report.tables import build_tables; "
        "j = judge_store([], PAPER); render_page(j, findings=(), tables=build_tables(j), figures=(), extras=Extras()); "
        "assert not {'torch', 'anomalib', 'timm', 'matplotlib', 'pandas', 'hydra'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
