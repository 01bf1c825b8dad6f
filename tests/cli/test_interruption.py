"""An interruption is one, whatever error a library's clean-up puts in its place."""

from __future__ import annotations

import os
import signal
import sys
import time
from importlib import import_module

import pytest
from hydra.errors import ConfigCompositionException

from harness.__main__ import main
from harness.cli.interruption import INTERRUPTED, TERMINATED, listen, raise_if_interrupted
from harness.store import Store
from tests.drawing import draw_mvtec_category
from tests.reliability.sweeps import QUICK

LINES = {
    signal.SIGINT: (INTERRUPTED, "interrupted: finished runs are kept; the same command goes on with the rest\n"),
    signal.SIGTERM: (TERMINATED, "terminated: finished runs are kept; the same command goes on with the rest\n"),
}


@pytest.fixture(autouse=True)
def handlers():
    before = {kind: signal.getsignal(kind) for kind in LINES}
    listen()
    yield
    listen()  # forget what came
    for kind, handler in before.items():
        signal.signal(kind, handler)


def replaced(kind, error):
    """What a library does whose clean-up stumbles over an interruption."""

    def fail(*_args, **_kwargs):
        try:
            os.kill(os.getpid(), kind)
        finally:
            raise error

    return fail


@pytest.fixture
def command(tmp_path):
    draw_mvtec_category(tmp_path / "mvtec/bottle")
    root = f"dataset.root={tmp_path / 'mvtec'}"
    return [*QUICK, root, "category=bottle", "seeds=[0,1]", f"store={tmp_path / 'store'}"]


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize(
    ("where", "error"),
    [
        # as OmegaConf ends an interruption that comes while it builds a list
        ("hydra._internal.config_loader_impl.ConfigLoaderImpl._load_configuration_impl", ConfigCompositionException),
        ("harness.execution.job.prepare", ValueError),
        ("harness.execution.job.carry_out", ValueError),
    ],
)
def test_it_stands_before_the_error_that_it_becomes(kind, where, error, command, monkeypatch, capfd, tmp_path):
    monkeypatch.setattr(where, replaced(kind, error("broken")))
    assert (main(command), capfd.readouterr().err) == LINES[kind]
    assert Store(tmp_path / "store").records().records == ()


def test_without_an_interruption_an_error_stays_what_it_is(command, monkeypatch, capfd, tmp_path):
    def fail(*_args, **_kwargs):
        raise ValueError("broken")

    monkeypatch.setattr("harness.execution.job.carry_out", fail)
    assert main(command) == 1
    assert "ValueError: broken" in capfd.readouterr().err
    assert [record.status for record in Store(tmp_path / "store").records().records] == ["failed", "failed"]


def test_one_that_was_lost_in_a_destructor_is_heard_all_the_same(monkeypatch):
    class Fragile:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("sys.unraisablehook", lambda _: None)
    raise_if_interrupted()
    Fragile()
    with pytest.raises(SystemExit) as stop:
        raise_if_interrupted()
    assert stop.value.code == TERMINATED
    listen()
    raise_if_interrupted()


def test_a_signal_that_is_ignored_goes_on_being_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listen()
    os.kill(os.getpid(), signal.SIGINT)
    raise_if_interrupted()


MODULE = """
import os, signal, time
os.kill(os.getpid(), signal.{kind})
time.sleep(0.1)
imported = True
"""


@pytest.mark.parametrize("kind", ["SIGINT", "SIGTERM"])
def test_an_import_is_not_interrupted(kind, tmp_path, monkeypatch):
    """Python code that C++ calls in an import, as torch's does, must not raise: the process would be aborted."""
    (tmp_path / "some_module.py").write_text(MODULE.format(kind=kind))
    monkeypatch.syspath_prepend(tmp_path)
    ended = []

    def work() -> None:
        ended.append(import_module("some_module").imported)
        time.sleep(10)

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        work()
    del sys.modules["some_module"]
    time.sleep(0.1)  # nothing comes again
    assert ended == [True]
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        raise_if_interrupted()
