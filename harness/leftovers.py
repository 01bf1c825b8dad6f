"""Names of temporary files that say which process made them, so that those of a killed one are known for what they are.

On the same machine a dead process is known at once. On any other nothing but time tells, so there a leftover is removed
when it is old.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import secrets
import time
from pathlib import Path

LEFTOVER_AGE_S = 6 * 3600.0
"""No write takes hours, so a temporary file of this age belongs to a process that was killed, wherever it ran."""

_MARK = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.tmp")


def temporary_name(name: str) -> str:
    """Return a hidden name for a temporary file or folder that will take the place of `name`; no two calls agree."""
    return f".{name}.{machine()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"


def is_abandoned(path: Path) -> bool:
    """Say whether a temporary file or folder belongs to nobody any more; False for any other kind of name.

    Raises:
        OSError: it cannot be looked at, most likely since it is gone by now.
    """
    mark = _MARK.fullmatch(path.name)
    if mark is None:
        return False
    dead = mark[1] == machine() and not is_alive(int(mark[2]))
    return dead or time.time() - path.lstat().st_mtime > LEFTOVER_AGE_S


@functools.cache
def machine() -> str:
    """Return eight hex digits for the machine since its start and the container: where a process's number means one."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        where = f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        where = platform.node()
    return hashlib.sha256(where.encode()).hexdigest()[:8]


def is_alive(pid: int) -> bool:
    """Say whether a process of this machine lives; a zombie, which nobody has asked about since its end, does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # another user's, not Linux, or no number that a process can have: then its age decides
