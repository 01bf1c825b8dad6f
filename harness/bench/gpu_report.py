"""What scripts/gpu.py measured, as Markdown."""

from __future__ import annotations

import re

from harness.bench.gpu import BATCH_SIZES
from harness.bench.results import Results

_COLUMNS = {
    "scores and maps": "scores and maps, relative",
    "image_auroc": "image AUROC",
    "image_f1_max": "image F1-max",
    "pixel_auroc": "pixel AUROC",
    "pixel_f1_max": "pixel F1-max",
    "pixel_aupro": "AUPRO",
}


def gpu_markdown(results: Results) -> str:
    """The checks in words, and a table each of latency and of whole runs."""
    numbers = results.settings["checks"]
    lines = [
        f"- Largest relative difference of maps and scores from the CPU's: {numbers['parity']:.1e}.",
        f"- The same run again: {'the same bits' if numbers['identical'] else 'OTHER bits'}; `device=auto` took "
        f"{results.settings['device'] if numbers['auto_took_it'] else 'another'}.",
        f"- Copies of images from pinned memory: {numbers['pinned_copies']:.0f} for {numbers['batches']:.0f} batches "
        f"({100 * numbers['hidden_share']:.0f} % of their time behind computation); from pageable memory: "
        f"{numbers['pageable_copies']:.0f} copies, {1000 * numbers['pageable_seconds']:.1f} ms in all.",
        f"- Peak device memory of a run: {numbers['peak_device_bytes'] / 2**20:.0f} MiB, predicted "
        f"{numbers['predicted_device_bytes'] / 2**20:.0f} MiB; of host memory "
        f"{numbers['peak_rss_bytes'] / 2**20:.0f} MiB, predicted {numbers['predicted_rss_bytes'] / 2**20:.0f} MiB.",
        "",
        "| batch | p50, ms | p95, ms | p99, ms | images a second |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for size in BATCH_SIZES:
        cells = [_shown(results, "latency", f"batch_{size}_p{percent}_ms", 2) for percent in (50, 95, 99)]
        lines.append(
            f"| {size} | {' | '.join(cells)} | {_shown(results, 'latency', f'batch_{size}_images_per_second', 1)} |"
        )
    lines += ["", *_spreads(results), "", *_network(results)]
    lines += ["", "| whole runs | images a second | whole process, s |", "| --- | ---: | ---: |"]
    for name in results.names:
        if match := re.fullmatch(r"run-(batch|workers)-(\d+)", name):
            what = f"batches of {match[2]}" if match[1] == "batch" else f"{match[2]} decoding threads"
            rate, seconds = results.median(name, "images_per_second"), results.median(name)
            lines.append(f"| {what} | {rate:.1f} | {seconds:.1f} |")
    return "\n".join(lines)


def _spreads(results: Results) -> list[str]:
    """A table of what another device moves."""
    lines = [
        f"| what differs, at most | {' | '.join(_COLUMNS.values())} |",
        f"| --- |{' ---: |' * len(_COLUMNS)}",
    ]
    device = {"cuda": "the GPU", "cpu": "the CPU"}[results.settings["device"]]
    moved = results.settings["spreads"]
    cells = [f"{moved[column]:.1e}" if column in moved else "" for column in _COLUMNS]
    return [*lines, f"| {device} against the CPU | {' | '.join(cells)} |"]


def _network(results: Results) -> list[str]:
    """A table of the network's pass alone."""
    rates = {size: _shown(results, "network", f"batch_{size}_images_per_second", 0) for size in BATCH_SIZES}
    rows = [f"| batches of {size} | {rate} |" for size, rate in rates.items()]
    return ["| the network alone | images a second |", "| --- | ---: |", *rows]


def _shown(results: Results, name: str, quantity: str, digits: int) -> str:
    """A median; nothing where it was not measured."""
    value = results.median(name, quantity)
    return "" if value is None else f"{value:.{digits}f}"
