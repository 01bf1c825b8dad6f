"""Start one process, wait for it, and write what it took: run by its path, with nothing imported that is large.

Linux keeps in `ru_maxrss` the size that a process had before `exec`, so a child of a large process would state its
parent's size. This one takes some ten megabytes, which is then the least that can be measured.

    python -I -S launcher.py OUT.json TIMEOUT_S COMMAND [ARGUMENT ...]
"""

import json
import os
import signal
import sys
import time


def main(out: str, timeout_s: str, *command: str) -> int:
    """Write wall-clock and CPU seconds, peak memory and exit status of the command; return 0."""
    started = time.perf_counter()
    child = os.fork()
    if child == 0:
        try:
            os.execvp(command[0], command)
        except OSError as error:
            os.write(2, str(error).encode())
        finally:
            os._exit(127)

    def too_late(_signal: int, _frame: object) -> None:
        os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, too_late)
    signal.signal(signal.SIGTERM, too_late)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C reaches the child too, and ends both
    signal.setitimer(signal.ITIMER_REAL, float(timeout_s))
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - started
    taken = {
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_rss_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "status": os.waitstatus_to_exitcode(status),
    }
    with open(out, "w", encoding="utf-8") as file:
        json.dump(taken, file)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
