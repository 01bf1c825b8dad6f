"""Where and with what a run was made: commit, package versions, processor, and the memory it took."""

import platform
import re
import resource
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness import __version__
from harness.device import kernel_bytes
from harness.paths import PROJECT
from harness.store.record import Environment, Git

PACKAGES = (
    *("anomalib", "hydra-core", "lightning", "numpy", "omegaconf", "pillow", "safetensors", "scipy", "timm", "torch"),
    *("torchmetrics", "torchvision"),
)
"""Distributions that can move a number, or read what moves one."""

CODE = ("harness", "hydra_plugins", "configs", "scripts", "pyproject.toml", "requirements.lock")
"""What makes `dirty`: a run's own record, new in results/, must not."""


def environment(*, threads: int | None, device: str | None = None) -> Environment:
    """Return the environment of a run.

    Args:
        threads: torch's threads on the CPU.
        device: the graphics card's name; None for the processor.
    """
    cpu = cpu_model()
    return Environment(
        git=git_state(PROJECT),
        harness=__version__,
        python=platform.python_version(),
        packages=package_versions(PACKAGES),
        cpu=cpu,
        device=device or cpu,
        threads=threads,
        platform=platform.platform(),
    )


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Return distribution -> installed version; one that is not installed is left out."""
    versions = {}
    for name in names:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


@cache
def git_state(root: Path) -> Git | None:
    """Return commit and dirty flag of the checkout whose top folder is `root`, as they were when first asked.

    None where `root` is not the top of a checkout (an installed harness may lie inside somebody else's), where there
    is no commit yet, or where git is not there or will not say.
    """
    # No optional locks: many runs may ask at once.
    git = ("git", "--no-optional-locks", f"--git-dir={root / '.git'}", f"--work-tree={root}")

    def ask(*arguments: str) -> str:
        done = subprocess.run([*git, *arguments], cwd=root, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        commit = ask("rev-parse", "--verify", "HEAD")
        changes = ask("status", "--porcelain", "--untracked-files=all", "--", *CODE)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return Git(commit=commit, dirty=bool(changes))


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name as Linux states it, else what Python knows of it (some ARM ones have no name)."""
    with suppress(OSError):
        if match := re.search(r"^model name\s*:\s*(\S.*)$", cpuinfo.read_text(errors="replace"), re.MULTILINE):
            return match[1].strip()
    return platform.processor() or platform.machine() or "unknown"


def peak_rss_bytes() -> int:
    """Return the most memory that this process has held at once so far, in bytes.

    On Linux it is the kernel's VmHWM, since `ru_maxrss` would state the size of a large parent. On macOS `ru_maxrss` is
    in bytes.
    """
    peak = kernel_bytes(Path("/proc/self/status"), "VmHWM:")
    return peak if peak is not None else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
