"""Pages to look at: rendered from made records, read back with the standard library's own HTML parser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from harness.papers.audit import run_audit
from harness.papers.model import Edition, Finding
from harness.report.output import write_output
from harness.report.page import Extras, render_page
from harness.report.tables import build_tables
from harness.store import RunRecord
from tests.report.stores import PUBLISHED, judge_store

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 30"><rect width="72" height="30" fill="#0072b2"/></svg>'
VOID = {"meta", "img", "br", "hr", "link", "input"}


def draw_figures(folder: Path) -> list[Path]:
    """A file for every figure, as small as can be."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{figure.stem}.svg" for figure in PUBLISHED.figures]
    for path in paths:
        path.write_text(SVG)
    return paths


def make_page(
    path: Path,
    records: Sequence[RunRecord],
    edition: Edition,
    *,
    problems: Sequence[str] = (),
    findings: Sequence[Finding] | None = None,
    figures: Sequence[Path] | None = None,
) -> Path:
    """The page of a store that holds these records."""
    judged = judge_store(records, edition)
    text = render_page(
        judged,
        findings=run_audit(PUBLISHED) if findings is None else findings,
        tables=build_tables(judged),
        figures=draw_figures(path.parent / "figures") if figures is None else figures,
        extras=Extras(tuple(problems)),
    )
    return write_output(path, text.encode())


@dataclass
class Element:
    """One element with what is in it."""

    tag: str
    attributes: dict[str, str | None]
    children: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it, spaces folded."""
        parts = [child if isinstance(child, str) else child.text for child in self.children]
        return " ".join("".join(parts).split())

    def all(self, *tags: str) -> list[Element]:
        """Every element below it with one of these tags, in the document's order."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                found += [child] if not tags or child.tag in tags else []
                found += child.all(*tags)
        return found

    def by_id(self, identifier: str) -> Element:
        return next(element for element in self.all() if element.attributes.get("id") == identifier)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self._open = [self.root]

    def handle_starttag(self, tag, attrs):
        element = Element(tag, dict(attrs))
        assert len(element.attributes) == len(attrs), f"{tag}: an attribute is there twice"
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag):
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data):
        self._open[-1].children.append(data)


def read_page(path: Path) -> Element:
    """The page as elements; fails where tags are not closed in order."""
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert len(reader._open) == 1, reader._open[-1].tag
    return reader.root
