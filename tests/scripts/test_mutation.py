"""What scripts/mutation.py does around the mutation tester, which is not installed where the suite runs."""

from __future__ import annotations

import runpy
import sys
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="module")
def mutation(project):
    return SimpleNamespace(**runpy.run_path(str(project / "scripts" / "mutation.py")))


def test_a_sample_is_seeded_and_has_of_every_module(mutation):
    names = {"a.py": [f"a{i}" for i in range(900)], "b.py": [f"b{i}" for i in range(100)], "c.py": ["c0"]}
    sample = mutation.drawn(names, 100, 0)
    assert {module: len(group) for module, group in sample.items()} == {"a.py": 90, "b.py": 10, "c.py": 1}
    assert all(set(group) <= set(names[module]) for module, group in sample.items())
    assert sample == mutation.drawn(names, 100, 0) != mutation.drawn(names, 100, 1)
    assert mutation.drawn(names, 0, 0) == mutation.drawn(names, 5000, 0) == names


def test_every_equivalent_mutant_is_of_a_line_that_is_there(project, mutation):
    """A line that was changed since is mutated otherwise: its entry says nothing any more."""
    for change, why in mutation.known_equivalents().items():
        text = " ".join((project / change.module).read_text(encoding="utf-8").split())
        assert " ".join(change.was.split()) in text, change
        assert f"def {change.function.rpartition('.')[2]}(" in text, change
        assert change.becomes != change.was
        assert why


@pytest.mark.parametrize(
    ("was", "becomes", "equivalent"),
    [
        ('f(encoding="utf-8")', 'f(encoding="UTF-8")', True),
        ('f(encoding="utf-8")', "f(encoding=None)", False),
        ("zip(a, b, strict=True)", "zip(a, b, strict=False)", True),
        ("zip(a, b, strict=True)", "zip(a, b, )", True),
        ("zip(a, b, strict=True)", "zip(a, None, strict=True)", False),
        ("reader(a, strict=True)", "reader(a, strict=False)", False),
        ("known", "to nobody", False),
        ("known", "as such", True),
    ],
)
def test_what_no_test_can_notice(mutation, was, becomes, equivalent):
    known = {mutation.Change("m.py", "f", "known", "as such"): "why"}
    assert mutation.is_equivalent(mutation.Change("m.py", "f", was, becomes), known) is equivalent


def test_decorated_functions_are_laid_open(mutation):
    pytest.importorskip("libcst")
    source = (
        "from functools import cache\n"
        "class A:\n"
        "    @property\n"
        "    def one(self) -> int:\n"
        "        return 1\n"
        "    @classmethod\n"
        "    def two(cls): return 2\n"
        "@cache\n"
        "def three(a, b):\n"
        "    return a + b\n"
    )
    laid_open = mutation.without_decorators(source)
    names: dict = {}
    exec(laid_open, names)
    assert (names["A"]().one, names["A"]().two(), names["three"](1, 2)) == (1, 2, 3)
    assert names["A"]()._plain_one() == 1
    assert names["_plain_three"](1, 2) == 3
    assert "_plain_two" not in laid_open  # mutmut takes class methods as they are


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--sample", "many"], "error: argument --sample: invalid int value: 'many'; --help shows what is allowed\n"),
        ([], "error: mutmut: is not installed; pip install -r requirements-mutation.lock does it\n"),
    ],
)
def test_a_wrong_request_is_one_line(mutation, tmp_path, capsys, monkeypatch, arguments, told):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert mutation.main([*arguments, "--folder", str(tmp_path / "copy")]) == 2
    assert capsys.readouterr().err == told
    assert not (tmp_path / "copy").exists()
