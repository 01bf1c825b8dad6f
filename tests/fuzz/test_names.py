"""Names from data, wherever they are shown: a terminal, a page, a spreadsheet, Markdown, LaTeX, a folder's name."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser

from hypothesis import example
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from harness.errors import UserError
from harness.papers.model import ClaimVerdict, Finding
from harness.report.tables import (
    Table,
    csv_document,
    latex_document,
    latex_text,
    markdown_document,
    markdown_text,
)
from harness.store import Failure
from harness.store.fields import run_path
from tests.fuzz.strategies import texts, unicode_texts
from tests.fuzz.target import answer, check_line, fuzz
from tests.papers.making import PAPER
from tests.report.pages import make_page
from tests.store.making import make_dataset, make_failed, make_ok, make_parts, make_spec


def table(names: list[str], form: str) -> Table:
    return Table(
        number=1,
        form=form,
        title=names[0],
        columns=(names[1], "A", "B"),
        rows=tuple((name, names[2], "-0.5") for name in names),
        runs=tuple(names),
        footer=tuple(names),
        numeric=(False, False, True),
        protocol=names[0],
        synthetic=False,
    )


@fuzz(120, names=st.lists(texts, min_size=3, max_size=3), form=st.sampled_from(["paper", "verdicts"]))
@example(["a" * 9_000, "\x1b[2J" * 3_000, "1. x"], "paper")
@example(["1) x", "## x", "---"], "paper")
@example(["- - -", "a_b_c __d__", "x\\"], "paper")
@example(["&#60;b&#62; &lt;", "==", "    code"], "paper")
def test_a_name_is_text_and_nothing_else_wherever_it_is_shown(names, form):
    for name in names:
        if name.strip():
            check_line(str(UserError(name)))
        path = answer(run_path, make_spec(dataset=name, category=name, backbone=name))
        for part in path.parts if path else ():
            assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._ ~-]{0,79}", part)
            assert part not in {".", ".."}
    names = [name.encode("utf-8", "replace").decode() for name in names]
    drawn = table(names, form)
    rows = list(csv.reader(io.StringIO(answer(csv_document, drawn), newline=""), strict=True))
    assert {len(row) for row in rows} == {6}
    for cell in (cell for row in rows for cell in row):
        assert cell.lstrip()[:1] not in tuple("=@＝＋－＠")
        assert not cell.lstrip().startswith(("+", "-")) or float(cell) is not None
    lines = answer(markdown_document, drawn).splitlines()
    assert len(lines) == 3 + 1 + len(drawn.rows) + 1 + len(drawn.footer)
    for name in names:
        check_markdown(name)
    check_latex(answer(latex_document, drawn), form)


def check_markdown(text: str) -> None:
    """By a parser of CommonMark with GitHub's tables and strikethrough: the words come back, and no element."""
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    if not words:
        return
    shown = markdown_text(text)
    reader = Reader()
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    reader.feed(parser.render(f"| a | b |\n|---|---|\n| {shown} | x |\n\n**{shown}**\n\n- {shown}\n"))
    assert set(reader.tags) <= {"table", "thead", "tbody", "tr", "th", "td", "p", "strong", "ul", "li"}
    assert reader.tags.count("td") == 2
    assert reader.cells[0] == words


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.inside = False

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.inside = tag == "td"
        self.cells += [""] * self.inside

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.cells[-1] += data


def check_latex(body: str, form: str) -> None:
    """No command, no special letter and no letter that pdfLaTeX lacks, but those of the table and of the escapes."""
    assert all(ord(letter) < 0x180 for letter in body)
    assert body.count(r"\begin") == body.count(r"\end") == 3
    known = {*re.findall(r"\\([a-z]+)", latex_document(table(["a", "b", "c"], form))), "text", "ensuremath", "ldots"}
    escapes = {*re.findall(r"\\([A-Za-z]+)", latex_text("\\{}$&%#_/~^<>|×±–—…−"))}
    assert {*re.findall(r"(?<!\\)\\([A-Za-z]+)", body)} <= known | escapes
    assert not {*"$#^~"} & {*re.sub(r"\\.", "", body)}


class Page(HTMLParser):
    """What elements a page has, with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))


@fuzz(8, names=st.lists(unicode_texts.filter(lambda text: text and not text.startswith("/")), min_size=4, max_size=4))
@example(['"><script>alert(1)</script>', "</script><img src=x onerror=alert(2)>", "</style><b>", "javascript:alert(3)"])
@example(["\x1b[2J", "\u202egnp", "{{ 7*7 }}", "<!--"])
def test_a_page_has_no_element_and_no_link_of_theirs(tmp_path_factory, names):
    """Category, notes, licence, host, packages, errors: the page has the elements that it has with plain names."""
    found = []
    for chosen in (names, ["plain"] * 4):
        first, second, third, fourth = chosen
        spec = make_spec(category=f"x{first}")
        environment = make_parts()["environment"].model_copy(
            update={"cpu": second, "device": third, "packages": {"torch": fourth}, "platform": first}
        )
        try:
            dataset = make_dataset(spec, licence=third, title=fourth, notes=[first])
            ok = make_ok(spec, weights=second, protocol_name="paper", dataset=dataset, environment=environment)
            error = Failure(type=second, message=third, stage=fourth)
            failed = make_failed(make_spec(category=f"y{second}"), error=error)
        except ValueError:  # an absolute path, which no record holds
            return
        path = tmp_path_factory.getbasetemp() / "report.html"
        finding = Finding(second, "claim", first, third, ClaimVerdict.FALSE, fourth)
        make_page(path, [ok, failed], PAPER, problems=[first], figures=[], findings=[finding])
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
        page = Page()
        page.feed(text)
        found.append(page.elements)
    theirs, plain = found
    count = [
        sorted(tag for tag, _ in elements if tag in {"script", "style", "img", "iframe", "link"}) for elements in found
    ]
    assert count[0] == count[1]
    known = {tag for tag, _ in plain}
    assert {tag for tag, _ in theirs} <= known
    for _, attributes in theirs:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("href", "src", "action"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:image/", "https://"))
