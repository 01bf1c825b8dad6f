"""Sweeps whose disk, permissions or folders fail them, each in a fork of one process that has imported everything.

Run by tests/reliability/test_failing_disk.py, in a mount namespace of its own: here disks are made full and read-only.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.leftovers import is_temporary
from harness.store import Store
from tests.drawing import draw_mvtec_category
from tests.reliability.killing import Sweep, warm_up

QUICK = ("dataset=mvtec", "backbone=resnet18", "backbone.weights=random", "n_features=10", "protocol.resize=64",
         "protocol.center_crop=null", "metrics.bootstrap_samples=20", "threads=1")  # fmt: skip

Act = Callable[["Place"], None]


@dataclass(frozen=True)
class Place:
    """Where a scenario plays."""

    base: Path

    @property
    def disk(self) -> Path:
        """A file system of its own, with a megabyte of room."""
        return self.base / "disk"

    @property
    def store(self) -> Path:
        return self.disk / "store"

    @property
    def data(self) -> Path:
        return self.base / "mvtec"

    @property
    def cwd(self) -> Path:
        return self.base / "cwd"


def nothing(_: Place) -> None:
    """The sweep meets no trouble."""


def mount(place: Place, *options: str) -> None:
    subprocess.run(["mount", *options, str(place.disk)], check=True)


def small_disk(place: Place) -> None:
    mount(place, "-t", "tmpfs", "-o", "size=1m,mode=755", "none")


def fill(place: Place) -> None:
    descriptor = os.open(place.disk / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        with suppress(OSError):
            while True:
                os.write(descriptor, bytes(4096))
    finally:
        os.close(descriptor)


def make_room(place: Place) -> None:
    (place.disk / "filler").unlink()


def read_only(place: Place) -> None:
    """Lay a read-only view over the disk: what is open for writing, as a claim is, would keep it from changing."""
    mount(place, "--bind", str(place.disk))
    mount(place, "-o", "remount,ro,bind")


def writable(place: Place) -> None:
    subprocess.run(["umount", str(place.disk)], check=True)


def small_files(_: Place) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


def no_privileges() -> None:
    """Root may write everywhere; without its capabilities it may only what its folders allow."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def forbid(place: Place) -> None:
    for folder in (place.store, *place.store.rglob("*")):
        if folder.is_dir():
            folder.chmod(0o555)
    no_privileges()


def forbid_a_record(place: Place) -> None:
    next(place.store.glob("runs/mvtec/bottle/*/seed0-*/record.json")).chmod(0)
    no_privileges()


def remove_store(place: Place) -> None:
    shutil.rmtree(place.store)


def remove_data(place: Place) -> None:
    shutil.rmtree(place.data)


def remove_cwd(place: Place) -> None:
    place.cwd.rmdir()


def full_output(_: Place) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, 1)


def closed_pipe(_: Place) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, 1)


@dataclass(frozen=True)
class Scenario:
    """What happens to a sweep of two seeds, and when."""

    start: Act = nothing
    """Before it begins."""
    write: Act = nothing
    """Before it writes its second run."""
    split: Act = nothing
    """When it knows its images and has not decoded any."""
    after: Act = nothing
    """When it has ended, so that the same command can go on."""
    twice: bool = False
    """Whether an undisturbed sweep goes before."""
    categories: str = "bottle"


SCENARIOS = {
    "undisturbed": Scenario(),
    "full": Scenario(start=fill, after=make_room),
    "full midway": Scenario(write=fill, after=make_room, categories="bottle,cable"),
    "read-only": Scenario(start=read_only, after=writable),
    "read-only midway": Scenario(write=read_only, after=writable),
    "file size": Scenario(start=small_files),
    "file size midway": Scenario(write=small_files),
    "permission": Scenario(start=forbid, twice=True),
    "permission midway": Scenario(write=forbid),
    "unreadable record": Scenario(start=forbid_a_record, twice=True),
    "store removed": Scenario(write=remove_store),
    "data removed": Scenario(split=remove_data, categories="bottle,cable"),
    "working folder removed": Scenario(write=remove_cwd, categories="bottle,cable"),
    "output full": Scenario(start=full_output),
    "output closed": Scenario(start=closed_pipe),
}


def play(scenario: Scenario, place: Place) -> dict[str, Any]:
    """One scenario: how the sweep ended, what it said, what it left, and how the same command went on afterwards."""
    for folder in (place.disk, place.cwd, place.base / "cache", place.base / "tmp"):
        folder.mkdir(parents=True)
    _draw(place)
    small_disk(place)
    if scenario.twice:
        _sweep(Scenario(categories=scenario.categories), place, "before")
    status = _sweep(scenario, place, "sweep")
    scenario.after(place)
    told = {name: (place.base / f"sweep.{name}").read_text() for name in ("out", "err")}
    left = _left(Store(place.store))
    _draw(place)
    place.cwd.mkdir(exist_ok=True)
    for path in place.disk.rglob("*"):
        path.chmod(0o755)
    midway = status and (scenario.start is nothing or scenario.twice)  # else there is no half of anything
    again = _sweep(Scenario(categories=scenario.categories), place, "again") if midway else None
    whole = _left(Store(place.store))
    subprocess.run(["umount", str(place.disk)], check=True)
    return {"status": status, **told, "left": left, "again": again, "whole": whole}


def _draw(place: Place) -> None:
    for category in ("bottle", "cable"):
        draw_mvtec_category(place.data / category, n_train=4, n_good=2, n_bad=2)


def _left(store: Store) -> dict[str, Any]:
    contents = store.records()
    counts = [store.done(record.spec.model_dump()) is not None for record in contents.records if record.status == "ok"]
    return {
        "ok": counts.count(True),
        "ok that do not count": counts.count(False),
        "failed": sum(record.status == "failed" for record in contents.records),
        "problems": list(contents.problems),
        "temporary": [str(path) for path in store.path.rglob("*") if is_temporary(path.name)],
    }


def _sweep(scenario: Scenario, place: Place, name: str) -> int:
    """The exit status of a sweep in a fork, in whose course the scenario takes place."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 70
    try:
        os.environ.update(XDG_CACHE_HOME=str(place.base / "cache"), TMPDIR=str(place.base / "tmp"))
        for number, suffix in ((1, "out"), (2, "err")):
            os.dup2(os.open(place.base / f"{name}.{suffix}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
        os.chdir(place.cwd)
        _arm(scenario, place)
        scenario.start(place)
        from harness.__main__ import main

        status = main([*QUICK, f"dataset.root={place.data}", f"category={scenario.categories}", "seeds=[0,1]",
                       f"store={place.store}"])  # fmt: skip
    finally:
        os._exit(status)


def _arm(scenario: Scenario, place: Place) -> None:
    """Let the scenario come at its moments."""
    from harness import run

    write, fingerprint, calls = Store.write, run.fingerprint, []

    def write_later(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            scenario.write(place)
        return write(*arguments)

    def fingerprint_first(*arguments: Any) -> Any:
        told = fingerprint(*arguments)
        scenario.split(place)
        return told

    Store.write, run.fingerprint = write_later, fingerprint_first


def main(argv: Sequence[str]) -> int:
    """`BASE`: play all scenarios, and write BASE/told.json."""
    base = Path(argv[0])
    os.environ["OMP_NUM_THREADS"] = "1"
    place = Place(base / "warm")
    _draw(place)
    arguments = (*QUICK, f"dataset.root={place.data}", "category=bottle", "seed=0")
    warm_up(Sweep(arguments, place.base, 1).prepared())
    told = {name: play(scenario, Place(base / name.replace(" ", "_"))) for name, scenario in SCENARIOS.items()}
    (base / "told.json").write_text(json.dumps(told, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
