"""Which package imports which: arrows point one way, and what only reads records needs no torch."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.paths import PROJECT

PACKAGE = PROJECT / "harness"
MODULES = {
    ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imports(nodes: list[ast.stmt], *, lazy: bool) -> Iterator[str]:
    """Yield the harness's modules that statements import; not for types alone.

    Args:
        lazy: those inside functions as well.
    """
    for node in nodes:
        if isinstance(node, ast.ImportFrom | ast.Import):
            yield from modules_of(node)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports(node.orelse, lazy=lazy)
        elif lazy or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imports(list(ast.iter_child_nodes(node)), lazy=lazy)


def modules_of(node: ast.ImportFrom | ast.Import) -> Iterator[str]:
    """Yield the harness's modules that one statement imports."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    else:
        assert node.module, "imports are absolute"
        whole = [f"{node.module}.{alias.name}" for alias in node.names]
        names = [name if name in MODULES else node.module for name in whole]
    yield from (name for name in names if name.partition(".")[0] == "harness")


def imported(path: Path, *, lazy: bool = False) -> set[str]:
    """The harness's modules that a file imports as it is imported itself; with `lazy` those in functions, too."""
    return set(imports(ast.parse(path.read_text(encoding="utf-8")).body, lazy=lazy))


GRAPH = {name: imported(path) - {name} for name, path in MODULES.items()}


def short(module: str) -> str:
    """A module's name as docs/architecture.md has it: without `harness.`; the package itself is `__init__`."""
    return module.removeprefix("harness").removeprefix(".") or "__init__"


def within(module: str, names: set[str]) -> list[str]:
    """The names that stand for a module: its own, or that of a package it is in. The longest comes last."""
    return sorted((name for name in names if f"{module}.".startswith(f"{name}.")), key=len)


def read_rules() -> tuple[dict[str, set[str]], set[str]]:
    """What docs/architecture.md allows: by row, and for every module."""
    text = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("| package |")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [line.strip("|").split("|") for line in table]
    rows = {row.strip(" `"): set(re.findall(r"`(.+?)`", allowed)) for row, _, allowed in cells}
    (sentence,) = re.findall(r"^Every module may import (.+?);", text, re.MULTILINE)
    return rows, set(re.findall(r"`(.+?)`", sentence))


RULES, FOR_ALL = read_rules()


def forbidden(module: str, path: Path) -> Iterator[str]:
    """Yield a line for each import of a module that docs/architecture.md does not allow."""
    rows = within(short(module), set(RULES))
    if not rows:
        yield f"{module} has no row in the table of docs/architecture.md"
        return
    row = rows[-1]
    for name in sorted(imported(path, lazy=True)):
        if not within(short(name), RULES[row] | FOR_ALL | {row}):
            yield f"{module} imports {name}, which docs/architecture.md does not allow in its row `{row}`"


def test_imports_keep_to_the_table_of_the_architecture():
    if lines := [line for module, path in MODULES.items() for line in forbidden(module, path)]:
        pytest.fail("\n".join(lines), pytrace=False)


def test_the_table_of_the_architecture_is_of_this_code():
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists() or any(path.glob("*.py"))}
    roots = {path.stem for path in PACKAGE.glob("*.py")}
    assert set(RULES) == packages | roots | {"config.settings"}
    names = {short(name) for name in MODULES} | packages
    assert set().union(FOR_ALL, *RULES.values()) <= names, "the table names a module that is not there"


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("harness.data.checks", "from harness.metrics.ranking import auroc"),
        ("harness.metrics.ranking", "def f():\n    import harness.data.split"),
        ("harness.models.base", "class A:\n    def f(self):\n        from harness import metrics"),
        ("harness.store.store", "from harness.cli.terminal import console"),
        ("harness.papers.verdict", "from harness.report import words"),
        ("harness.reproduce.plan", "from harness.report.page_commands import PYTHON"),
        ("harness.config.settings", "from harness.config import keys"),
        ("harness.new.thing", ""),
    ],
)
def test_an_import_against_the_table_is_named(tmp_path, module, code):
    path = tmp_path / "module.py"
    path.write_text(f"if TYPE_CHECKING:\n    import harness.smoke\n{code}")
    (line,) = forbidden(module, path)
    assert line.startswith(module)


def test_no_module_imports_itself_through_others():
    tuple(graphlib.TopologicalSorter(GRAPH).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize("package", ["store", "papers", "report", "config", "metrics"])
def test_reading_records_needs_no_torch(package):
    names = [name for name in MODULES if f"{name}.".startswith(f"harness.{package}.")]
    code = f"import sys, importlib\nfor name in {names}: importlib.import_module(name)\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT)
    assert done.stdout.strip() == "False", done.stderr
