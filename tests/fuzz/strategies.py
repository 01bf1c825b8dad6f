"""Inputs that attack: texts that mean something to a terminal, a page, a spreadsheet or a disk, and damaged bytes."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

HOSTILE = (
    "\x1b[2J\x1b]0;title\x07", "\u202egnp.exe", "\u2066x\u2069", "a\nb", "a\rb", "a\tb", "\x00", "\x7f", "\x9b31m",
    "\u2028", "=cmd|'/c calc'!A0", "+1+1", "-2+3", "@SUM(A1)", " =1", "\t=1", "＝1", "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(2)>", "{{ 7*7 }}", "{% raw %}", "</style>", "&lt;", "javascript:x",
    "\\input{/etc/passwd}", "\\write18{id}", "$x$", "^^5c", "%", "#1", "\\end{document}", "& & &", "\\\\[1em]",
    "| a | b |", "[x](javascript:x)", "`x`", "![x](http://x)", "# x", "<!-- x", "***", "~~x~~", "http://x.y/z",
    "1. x", "- x", "..", "../x", "/", "/etc/passwd", "\\\\host\\share", "C:\\x", "~", "con", "nul.png", "a" * 300,
    "a/" * 30, ".", " ", ".hidden", "é", "e\u0301", "\ufeff", "瓶", "😀", "\ud800", "0", "01", "1e3", "nan", "null",
    "true", "${oc.env:HOME}", "[a]", "{a}", ",", "",
)  # fmt: skip

texts = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=12),
    st.text(st.characters(codec=None), max_size=6),
    st.lists(st.sampled_from(HOSTILE), min_size=2, max_size=3).map("".join),
)
"""Any text, lone surrogates too."""

unicode_texts = texts.map(lambda text: text.encode("utf-8", "replace").decode())

numbers = st.one_of(
    st.integers(), st.floats(), st.sampled_from([0, -1, 1, 2**31, 2**63, 2**64, 10**400, 1e308, 5e-324, True, False])
)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)

_splices = st.tuples(
    st.floats(0, 1, exclude_max=True),
    st.none() | st.none() | st.integers(0, 12),  # None: as many bytes as come in their place
    st.one_of(
        st.binary(max_size=4),
        st.binary(min_size=1, max_size=1),
        st.sampled_from([b"\x00" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00"]),
    ),
)


def damaged(*wholes: bytes) -> st.SearchStrategy[bytes]:
    """One of these contents with up to four places overwritten, cut out or grown, and perhaps its end missing."""

    def damage(whole: bytes, splices: list[tuple[float, int | None, bytes]], keep: float) -> bytes:
        content = bytearray(whole)
        for where, width, new in splices:
            at = int(where * len(content))
            content[at : at + (len(new) if width is None else width)] = new
        return bytes(content[: int(keep * len(content))] if keep < 0.9 else content)

    kept = st.floats(0, 2)  # mostly nothing is missing
    return st.builds(damage, st.sampled_from(wholes), st.lists(_splices, max_size=4), kept)


def changed(value: Any) -> st.SearchStrategy[Any]:
    """JSON data with up to three of its values replaced, removed or joined by others."""

    @st.composite
    def change(draw: st.DrawFn) -> Any:
        whole = [value]
        result = _copy(whole)
        for _ in range(draw(st.integers(1, 3))):
            places = list(_places(result))
            where, key = draw(st.sampled_from(places))
            kind = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"]))
            if kind == "remove" and where is not result:
                del where[key]
            elif kind == "add" and isinstance(where, dict):
                where[draw(texts)] = draw(json_values)
            else:
                where[key] = draw(json_values)
        return result[0]

    return change()


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _places(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from _places(item)
