"""The steps of a reproduction as they run: each sweep a process of its own, then tables, figures and page."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from harness.data.catalog import CATALOG
from harness.data.download import Request as DownloadRequest
from harness.data.download import download
from harness.errors import UserError
from harness.paper.model import PAPER
from harness.report.render import Rendered, render
from harness.reproduce.outputs import outputs_of
from harness.reproduce.plan import Call, Download, Request

OK, FAILED, REFUSED = 0, 1, 2
GRACE_S = 60
"""How long an interrupted sweep has to end by itself: it finishes what it writes."""

Say = Callable[[str], None]


def command(call: Call) -> list[str]:
    """A sweep's command line, with the Python that runs this."""
    return [sys.executable, "-m", "harness", *call.arguments]


def shown(call: Call) -> str:
    """The same for a person, to be pasted into a shell."""
    return shlex.join(["python", *command(call)[1:]])


def run_sweep(call: Call, say: Say) -> int:
    """Run one sweep; what is in the store already it does not do again.

    Returns:
        0 all ok, 1 a run failed or the sweep was killed, 2 it, or a run, was refused.

    Raises:
        KeyboardInterrupt: it was interrupted.
    """
    status = _run(command(call))
    if status == -signal.SIGINT or status == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if status < 0:
        name = signal.Signals(-status).name
        hint = " (out of memory? fewer seeds at once need less)" if status == -signal.SIGKILL else ""
        say(f"the sweep was ended by {name}{hint}; its finished runs are kept, and the same command goes on")
        return FAILED
    return status if status in (OK, FAILED, REFUSED) else FAILED


def _run(words: Sequence[str]) -> int:
    """A process's exit status; it does not outlive an interruption of ours."""
    sys.stdout.flush()
    process = subprocess.Popen(words)
    try:
        return process.wait()
    except KeyboardInterrupt:
        # A terminal interrupts both of us; `kill` only the one it names.
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=2)
        _end(process, signal.SIGINT)
        raise
    except BaseException:
        _end(process, signal.SIGTERM)
        raise


def _end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(timeout=GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def fetch(wanted: Sequence[Download], request: Request, say: Say) -> int:
    """Download datasets, one after the other; one that cannot be had is said, and the others go on.

    Returns:
        0 all are there, 1 one is not.
    """
    status = OK
    for one in wanted:
        info = CATALOG[one.dataset]
        say(f"{info.title}: licence {info.licence}, {info.licence_url}")
        try:
            download(DownloadRequest(info, request.data_root))
        except UserError as error:
            say(f"{one.dataset}: {error}")
            status = FAILED
    return status


def render_all(request: Request) -> Rendered:
    """Tables, figures and page of the store, where they belong.

    Raises:
        UserError: something cannot be written.
    """
    outputs = outputs_of(request.store)
    return render(request.store, PAPER, tables=outputs.tables, figures=outputs.figures, report=outputs.report)
