"""What one process takes is what it takes, and not what its starter has."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from harness.bench.process import BenchError, succeed, take
from harness.leftovers import is_alive

MIB = 2**20


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def test_time_memory_output_and_status():
    taken = take(python("import sys, time; x = b'1' * (300 << 20); time.sleep(0.3); print('said'); sys.exit(3)"))
    assert (taken.status, taken.output, taken.complaints) == (3, "said\n", "")
    assert 0.3 <= taken.seconds < 20
    assert 300 * MIB <= taken.peak_rss_bytes < 400 * MIB


def test_a_large_starter_does_not_count():
    ballast = np.ones(40 * MIB)
    assert take(python("")).peak_rss_bytes < 60 * MIB < ballast.nbytes


def test_processor_time_of_all_its_processes():
    busy = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    parent = f"import os\npid = os.fork()\n{busy}\nif pid: os.wait()"
    assert take(python(parent)).cpu_seconds >= 0.55


def test_variables_are_added():
    taken = take(python("import os; print(os.environ['ONE'], 'PATH' in os.environ)"), environment={"ONE": "1"})
    assert taken.output == "1 True\n"


def test_too_slow_is_killed():
    taken = take(python("import time; time.sleep(60)"), timeout_s=0.5)
    assert taken.status == -9
    assert taken.seconds < 30


def test_no_such_program():
    with pytest.raises(BenchError, match=r"no-such-program: cannot be started \(.*No such file"):
        take(["no-such-program"])


def test_another_end_than_expected_says_what_was_said():
    taken = take(python("import sys; sys.exit('it\\nbroke')"))
    with pytest.raises(BenchError, match=r"^A: ended with status 1, not 0: it \| broke$"):
        succeed(taken, "A")
    assert succeed(taken, "A", status=1) is taken


def test_who_stops_waiting_leaves_nothing_at_work(tmp_path):
    """SIGTERM as a person sends it to a long measurement."""
    waiting = (
        "import signal, sys; from harness.bench.process import take\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        f"take([sys.executable, '-S', '-c', \"import os, time; open(r'{tmp_path}/pid', 'w').write(str(os.getpid()));"
        ' time.sleep(60)"])'
    )
    process = subprocess.Popen([sys.executable, "-c", waiting])
    deadline = time.monotonic() + 30
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    assert process.wait(30) == 143
    assert not is_alive(int((tmp_path / "pid").read_text()))
