"""Where and with what a run was made: commit, package versions, processor, and the memory it took."""

from __future__ import annotations

import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from harness import __version__

if TYPE_CHECKING:
    from harness.store.record import Environment, Git

PACKAGES = (
    "anomalib",
    "hydra-core",
    "lightning",
    "numpy",
    "omegaconf",
    "pillow",
    "safetensors",
    "scipy",
    "timm",
    "torch",
    "torchmetrics",
    "torchvision",
)
"""Distributions that can move a number, or read what moves one."""

CODE = ("harness", "hydra_plugins", "configs", "scripts", "pyproject.toml", "requirements.lock")
"""What makes `dirty`: a run's own record, new in results/, must not."""

ROOT = Path(__file__).resolve().parents[2]
GIT_TIMEOUT_S = 10


def environment(*, threads: int | None, device: str | None = None) -> Environment:
    """The environment of a run; the store knows no torch, so its caller says what torch computes on.

    Args:
        threads: torch's threads on the CPU.
        device: the graphics card's name; None for the processor.
    """
    from harness.store.record import Environment

    cpu = cpu_model()
    return Environment(
        git=git_state(ROOT),
        harness=__version__,
        python=platform.python_version(),
        packages=package_versions(PACKAGES),
        cpu=cpu,
        device=device or cpu,
        threads=threads,
        platform=platform.platform(),
    )


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Distribution -> installed version; one that is not installed is left out."""
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


@cache
def git_state(root: Path) -> Git | None:
    """Commit and dirty flag of the checkout whose top folder is `root`, as they were when first asked.

    None where `root` is not the top of a checkout (an installed harness may lie inside somebody else's), where there
    is no commit yet, or where git is not there or will not say.
    """
    from harness.store.record import Git

    top = _git(root, "rev-parse", "--show-toplevel")
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    if not top or not commit or Path(top).resolve() != root.resolve():
        return None
    changes = _git(root, "status", "--porcelain", "--untracked-files=all", "--", *CODE)
    return None if changes is None else Git(commit=commit, dirty=bool(changes))


def _git(root: Path, *arguments: str) -> str | None:
    # Within a git hook these variables point git at another repository.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    variables["GIT_OPTIONAL_LOCKS"] = "0"  # many runs may ask at once
    try:
        answer = subprocess.run(
            ["git", *arguments],
            cwd=root,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return answer.stdout.strip()


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name as Linux states it, else what Python knows of it (not every ARM processor has a name)."""
    try:
        match = re.search(r"^model name\s*:\s*(\S.*)$", cpuinfo.read_text(errors="replace"), re.MULTILINE)
    except OSError:
        match = None
    name = match[1].strip() if match else platform.processor() or platform.machine()
    return name or "unknown"


def peak_rss_bytes(status: Path = Path("/proc/self/status")) -> int:
    """The most memory that this process has held at once so far, in bytes.

    On Linux it is the kernel's VmHWM: `ru_maxrss` survives exec there, so that a process which a large one started
    would state its parent's size.
    """
    try:
        match = re.search(r"^VmHWM:\s*(\d+) kB$", status.read_text(), re.MULTILINE)
    except OSError:
        match = None
    if match:
        return int(match[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes, except on macOS
