"""The long profile (`make fuzz`): each target again and again until its time is up, and how many cases that were."""

from __future__ import annotations

import time

import pytest

from tests.fuzz.target import CASES, LONG, REFUSED, SECONDS


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if not (LONG and hasattr(pyfuncitem.obj, "hypothesis")):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        pyfuncitem.obj(**arguments)
    return True


def pytest_terminal_summary(terminalreporter):
    if LONG:
        for name, count in sorted(CASES.items()):
            terminalreporter.write_line(f"{count:>8} cases, {REFUSED[name]:>8} refused  {name.split('/')[-1]}")
        terminalreporter.write_line(f"{CASES.total():>8} cases, {REFUSED.total():>8} refused  in all")
