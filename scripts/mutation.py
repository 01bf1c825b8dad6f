"""Run the mutation tester (mutmut) in a copy of the working tree and list the mutants that no test notices."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from harness.arguments import Parser
from harness.errors import RequestError, UserError
from harness.keys import PROJECT

EQUIVALENT = PROJECT / "tests" / "equivalent_mutants.toml"
"""Mutants that no test can notice, each with the reason."""

SCOPE = {
    "harness/metrics/*.py": "tests/metrics",
    "harness/padim/gaussian.py": "tests/padim/test_gaussian.py",
    "harness/paper/digits.py": "tests/paper",
    "harness/paper/model.py": "tests/paper",
    "harness/paper/selection.py": "tests/paper",
    "harness/paper/verdict.py": "tests/paper",
    "harness/store/*.py": "tests/store",
}
"""What is mutated, and the tests that should notice: a package's own, not whatever happens to run it."""

SETTINGS = """
[tool.mutmut]
source_paths = ["harness"]
only_mutate = {modules}
also_copy = {copied}
pytest_add_cli_args = ["-m", "not slow and not real", "-k", "not processes and not killed", "--hypothesis-seed=0"]
pytest_add_cli_args_test_selection = {tests}
timeout_constant = 2.0
timeout_multiplier = 5.0
use_git_change_detection = false
"""
"""mutmut's, at the end of the copy's pyproject.toml. Without the tests of races and of killed processes: they take the
longest, and each mutant would run them."""

PLAIN = "_plain_"
"""Before the name of a function that stands without its decorators in the copy."""

CODECS = ("utf-8", "ascii")
"""Python takes their names in any case."""

NOTICED = ("killed", "timeout", "segfault")
"""A mutant that ends the process or never ends is noticed too."""


@dataclass(frozen=True)
class Mutant:
    """One mutant, and what became of it: a status in mutmut's words."""

    module: str
    name: str
    status: str


@dataclass(frozen=True)
class Change:
    """What a mutant changes: the function and its lines before and after, without indentation."""

    module: str
    function: str
    was: str
    becomes: str


def copy_tree(folder: Path) -> None:
    """A copy of every file that git would track: mutmut writes beside what it reads, and others may edit meanwhile."""
    shutil.rmtree(folder, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        source, target = PROJECT / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def without_decorators(source: str) -> str:
    """Move the body of each decorated function into an undecorated one beside it: mutmut leaves decorated ones alone.

    `@property def a(self): BODY` becomes `def _plain_a(self): BODY`, and `return self._plain_a()` under the property.
    """
    import libcst as cst

    def call(function: cst.FunctionDef, method: bool) -> cst.FunctionDef:
        names = [parameter.name.value for parameter in function.params.params]
        owner, passed = (f"{names[0]}.", names[1:]) if method else ("", names)
        line = f"return {owner}{PLAIN}{function.name.value}({', '.join(passed)})"
        return function.with_changes(body=cst.IndentedBlock([cst.parse_statement(line)]))

    def split(body: Sequence[cst.CSTNode], method: bool) -> list[cst.CSTNode]:
        out: list[cst.CSTNode] = []
        for node in body:
            if isinstance(node, cst.ClassDef) and isinstance(node.body, cst.IndentedBlock):
                inner = node.body.with_changes(body=split(node.body.body, method=True))
                out.append(node.with_changes(body=inner))
            elif isinstance(node, cst.FunctionDef) and _is_decorated(node):
                plain = node.with_changes(name=cst.Name(PLAIN + node.name.value), decorators=[])
                out += [plain, call(node, method)]
            else:
                out.append(node)
        return out

    module = cst.parse_module(source)
    return module.with_changes(body=split(module.body, method=False)).code


def _is_decorated(function: object) -> bool:
    """Whether mutmut would pass a function by, and its parameters are such as can be handed on by position."""
    import libcst as cst
    import libcst.matchers as m

    assert isinstance(function, cst.FunctionDef)
    handled = m.Decorator(decorator=m.Name("classmethod") | m.Name("staticmethod"))
    simple = isinstance(function.params.star_arg, cst.MaybeSentinel) and function.params.star_kwarg is None
    return simple and any(not m.matches(decorator, handled) for decorator in function.decorators)


def prepare(folder: Path, only: Sequence[str]) -> list[Path]:
    """Make the copy ready for mutmut, and return the modules to mutate: those whose path begins with one of `only`."""
    modules = {
        path.relative_to(folder): tests
        for pattern, tests in SCOPE.items()
        for path in sorted(folder.glob(pattern))
        if str(path.relative_to(folder)).startswith(tuple(only) or "")
    }
    if not modules:
        raise RequestError(
            f"--only {' '.join(only)}: no module that is mutated begins so; see SCOPE in scripts/mutation.py"
        )
    for module in modules:
        path = folder / module
        path.write_text(without_decorators(path.read_text(encoding="utf-8")), encoding="utf-8")
    copied = sorted(path.name for path in folder.iterdir() if path.name not in ("harness", "tests", "pyproject.toml"))
    settings = SETTINGS.format(modules=[*map(str, modules)], copied=copied, tests=sorted({*modules.values()}))
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(settings)
    (folder / "mutants").mkdir()  # Python never looks again into a folder of its path that was missing when it started
    return list(modules)


def names_by_module(modules: Sequence[Path]) -> dict[str, list[str]]:
    """All mutants' names by module, of those that have any; in the copy."""
    from mutmut.mutation.file_mutation import mutate_file_contents
    from mutmut.utils.format_utils import get_mutant_name

    named = {
        str(path): [
            get_mutant_name(path, name) for name in mutate_file_contents(str(path), path.read_text()).mutant_names
        ]
        for path in modules
    }
    return {module: names for module, names in named.items() if names}


def drawn(names: Mapping[str, Sequence[str]], sample: int, seed: int) -> dict[str, list[str]]:
    """About `sample` mutants in all (0: every one), from each module in proportion and at least one; seeded."""
    total = sum(map(len, names.values()))
    if sample == 0 or sample >= total:
        return {module: list(group) for module, group in names.items()}
    return {
        module: random.Random(f"{seed} {module}").sample(list(group), max(1, round(len(group) * sample / total)))
        for module, group in names.items()
    }


def change_of(mutant: Mutant) -> Change:
    """What a mutant changes, read from the copy that mutmut has mutated."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.utils.format_utils import orig_function_and_class_names_from_key

    function, owner = orig_function_and_class_names_from_key(mutant.name)
    lines = get_diff_for_mutant(mutant.name, path=Path(mutant.module)).splitlines()[2:]  # below its two headings
    was, becomes = (" ".join(line[1:].strip() for line in lines if line[:1] == sign) for sign in "-+")
    name = function.removeprefix(PLAIN)
    return Change(mutant.module, f"{owner}.{name}" if owner else name, was, becomes)


def known_equivalents(path: Path = EQUIVALENT) -> dict[Change, str]:
    """The reason by mutant, for those that no test can notice."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    return {
        Change(entry["module"], entry["function"], entry["was"], entry["becomes"]): entry["why"] for entry in entries
    }


def is_equivalent(change: Change, known: Mapping[Change, str]) -> bool:
    """Whether no test can notice a change: it is known, spells a codec otherwise, or a zip asserts nothing more.

    The latter where the lengths are equal in any case; where they may differ, a test of that error finds it.
    """
    unasserted = [change.was.replace("strict=True", other) for other in ("strict=None", "strict=False", "")]
    spelt = [change.was.replace(f"{q}{codec}{q}", f"{q}{codec.upper()}{q}") for codec in CODECS for q in "'\""]
    same = [*spelt, *(unasserted if "zip(" in change.was else [])]
    return change in known or (change.becomes != change.was and change.becomes in same)


def holes(folder: Path) -> set[str]:
    """Names of what lived in the run before, equivalents left out and timeouts not (a busy machine makes some)."""
    from mutmut.stats import status_by_exit_code

    found: set[str] = set()
    known = known_equivalents()
    with contextlib.chdir(folder):
        for path in Path("mutants").glob("**/*.py.meta"):
            module = str(path.relative_to("mutants").with_suffix(""))
            for name, code in json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"].items():
                mutant = Mutant(module, name, status_by_exit_code[code])
                if mutant.status not in ("killed", "not checked") and not is_equivalent(change_of(mutant), known):
                    found.add(name)
    return found


def results(names: Mapping[str, Sequence[str]]) -> list[Mutant]:
    """What became of each mutant, as mutmut left it in the copy."""
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.stats import status_by_exit_code

    found = []
    for module, group in names.items():
        data = SourceFileMutationData(path=Path(module))
        data.load()
        found += [Mutant(module, name, status_by_exit_code[data.exit_code_by_key.get(name)]) for name in group]
    return found


def report(names: Mapping[str, Sequence[str]], tried: Sequence[Mutant]) -> int:
    """Print a line per module and every mutant that lived and is not known to be equivalent; return their number."""
    known = known_equivalents()
    living = {mutant: change_of(mutant) for mutant in tried if mutant.status not in NOTICED}
    rows = Counter((mutant.module, mutant.status) for mutant in tried)
    equivalent = Counter(mutant.module for mutant, change in living.items() if is_equivalent(change, known))
    row = "{:32} {:>8} {:>6} {:>7} {:>8} {:>9} {:>11}"
    print(row.format("module", "mutants", "tried", "killed", "timeouts", "survived", "equivalent"))
    totals = Counter[str]()
    for module, group in names.items():
        counts = {
            "mutants": len(group),
            "tried": sum(n for (name, _), n in rows.items() if name == module),
            "killed": rows[module, "killed"] + rows[module, "segfault"],
            "timeouts": rows[module, "timeout"],
            "survived": sum(n for (name, status), n in rows.items() if name == module and status not in NOTICED),
            "equivalent": equivalent[module],
        }
        totals.update(counts)
        print(row.format(module, *counts.values()))
    print(row.format("together", *totals.values()))
    unnoticed = [(mutant, change) for mutant, change in living.items() if not is_equivalent(change, known)]
    for mutant, change in unnoticed:
        print(
            f"\n{mutant.status}: {change.module} {change.function}  ({mutant.name})\n- {change.was}\n+ {change.becomes}"
        )
    return len(unnoticed)


def main(argv: Sequence[str] | None = None) -> int:
    """Return 0 where every mutant tried was noticed or is known to be equivalent, else 1; 2 for a wrong request."""
    parser = Parser(prog="scripts/mutation.py", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--sample", type=int, default=0, metavar="N", help="try about N mutants, not all (default: 0, all)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")
    parser.add_argument("--only", nargs="+", default=[], metavar="PATH", help="only modules whose path begins so")
    parser.add_argument("--again", action="store_true", help="only the holes of the last run in the folder")
    parser.add_argument("--processes", type=int, default=1, help="mutants tried at once (default: 1)")
    parser.add_argument(
        "--folder",
        type=Path,
        default=PROJECT / "out" / "mutation",
        help="for the copy, made anew (default: out/mutation)",
    )
    try:
        arguments = parser.parse_args(argv)
        return _run(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(arguments: argparse.Namespace) -> int:
    mutmut = Path(sys.executable).with_name("mutmut")
    if not mutmut.is_file():
        raise RequestError("mutmut: is not installed; pip install -r requirements-mutation.lock does it")
    folder = arguments.folder.resolve()
    before = holes(folder) if arguments.again and folder.is_dir() else set()
    if arguments.again and not before:
        raise RequestError(f"--again: nothing lived in {folder}, or nothing ran there")
    copy_tree(folder)
    modules = prepare(folder, arguments.only)
    with contextlib.chdir(folder):  # mutmut reads its settings and writes its results in the working folder
        names = names_by_module(modules)
        chosen = drawn(names, arguments.sample, arguments.seed)
        if arguments.again:
            chosen = {module: [name for name in group if name in before] for module, group in names.items()}
        # What tests start takes the mutated package too, not the installed one. Threads do not survive a fork: one.
        environment = os.environ | {"PYTHONPATH": str(folder / "mutants"), "OMP_NUM_THREADS": "1"}
        command = [str(mutmut), "run", "--max-children", str(arguments.processes), *chain(*chosen.values())]
        log = folder / "mutmut.log"
        with log.open("w") as output:
            done = subprocess.run(command, env=environment, stdout=output, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise RequestError(f"mutmut: ended with status {done.returncode}; see {log}")
        return 1 if report(names, results(chosen)) else 0


if __name__ == "__main__":
    sys.exit(main())
