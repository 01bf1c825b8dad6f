"""How a run's images reach the GPU: the copies that torch's profiler sees, by where they come from.

python -m harness.bench.children.copies OUT.json REQUEST ...
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

Span = tuple[float, float]


def overlap(copies: Iterable[Span], kernels: Sequence[Span]) -> float:
    """The share of the copies' time during which a kernel ran, in [0, 1]; 0 where there is no copy."""
    merged: list[Span] = []
    for start, end in sorted(kernels):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    total = hidden = 0.0
    for start, end in copies:
        total += end - start
        hidden += sum(max(min(end, stop) - max(start, begin), 0.0) for begin, stop in merged)
    return hidden / total if total else 0.0


def count(events: Iterable[tuple[str, Span]]) -> dict[str, float]:
    """Copies from the host, pinned and pageable, and how much of the pinned ones' time is hidden behind kernels.

    Args:
        events: name, start and end of everything that ran on the GPU, as the profiler names it.
    """
    listed = list(events)
    pinned = [span for name, span in listed if "HtoD" in name and "Pinned" in name]
    pageable = [span for name, span in listed if "HtoD" in name and "Pageable" in name]
    kernels = [span for name, span in listed if not name.startswith(("Memcpy", "Memset"))]
    return {
        "pinned_copies": float(len(pinned)),
        "pageable_copies": float(len(pageable)),
        "pinned_seconds": sum(end - start for start, end in pinned) / 1e6,
        "pageable_seconds": sum(end - start for start, end in pageable) / 1e6,
        "hidden_share": overlap(pinned, kernels),
    }


def main(out: str, *request: str) -> int:
    """Run the request under the profiler and write the counts; return the run's exit status."""
    import torch
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    from harness.__main__ import main as harness

    activities = [ProfilerActivity.CUDA] if torch.cuda.is_available() else [ProfilerActivity.CPU]
    with profile(activities=activities) as profiler:
        status = harness(request)
    events = [
        (event.name, (event.time_range.start, event.time_range.end))
        for event in profiler.events()
        if event.device_type == DeviceType.CUDA
    ]
    Path(out).write_text(json.dumps(count(events)), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
