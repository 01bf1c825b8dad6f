"""What must hold: each bound with the quantity that it is about, taken from the measured sections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.bench.results import Results

Sections = Mapping[str, Results]


@dataclass(frozen=True)
class Bound:
    """A quantity and how large or small it must be."""

    text: str
    """What is measured, in words."""
    section: str
    limit: float
    at_most: bool
    unit: str
    measured: Callable[[Results], float | None]

    def value(self, sections: Sections) -> float | None:
        """The measured quantity; None where its section was not measured."""
        results = sections.get(self.section)
        return self.measured(results) if results else None

    def holds(self, sections: Sections) -> bool | None:
        """None where there is nothing measured."""
        value = self.value(sections)
        if value is None:
            return None
        return value <= self.limit if self.at_most else value >= self.limit


GIB = 2.0**30


def _peak_gib(name: str) -> Callable[[Results], float | None]:
    def measured(results: Results) -> float | None:
        peak = results.median(name, "peak_rss_bytes")
        return peak / GIB if peak is not None else None

    return measured


def _prediction_error(results: Results) -> float | None:
    """The largest relative distance between a predicted peak and the measured one."""
    errors = [
        abs(one.numbers["predicted_rss_bytes"] / one.peak_rss_bytes - 1)
        for one in results.measurements
        if "predicted_rss_bytes" in one.numbers
    ]
    return max(errors) if errors else None


def _slowest_refusal(results: Results) -> float | None:
    seconds = [results.median(name) for name in results.names if name.startswith("refuse-")]
    known = [one for one in seconds if one is not None]
    return max(known) if known else None


BOUNDS = (
    Bound("ours against the floor, imports excluded on both sides", "core", 1.3, True, "times",
          lambda r: r.ratio("ours-warm", "floor", "work_seconds")),
    Bound("the lean Engine against ours, whole processes", "core", 2.5, False, "times",
          lambda r: r.ratio("anomalib-lean", "ours")),
    Bound("anomalib as it comes against ours, whole processes", "core", 3.5, False, "times",
          lambda r: r.ratio("anomalib", "ours")),
    Bound("ten seeds against one, AUROC and F1", "core", 1.6, True, "times", lambda r: r.ratio("ours-10", "ours")),
    Bound("ten seeds against one, with AUPRO and intervals", "core", 2.2, True, "times",
          lambda r: r.ratio("ours-10-full", "ours-full")),
    Bound("peak memory at 1000 training images against 200", "scaling", 1.1, True, "times",
          lambda r: r.ratio("ours-1000", "ours-200", "peak_rss_bytes")),
    Bound("peak memory, Wide-ResNet-50-2, 256 features", "wide", 4.0, True, "GiB", _peak_gib("wide-256")),
    Bound("peak memory, Wide-ResNet-50-2, 550 features", "wide", 8.0, True, "GiB", _peak_gib("wide-550")),
    Bound("predicted against measured peak memory, ResNet-18", "scaling", 0.25, True, "off", _prediction_error),
    Bound("predicted against measured peak memory, Wide-ResNet-50-2", "wide", 0.25, True, "off", _prediction_error),
    Bound("AUROC and F1s of 40 million pixels, anomalib's time against ours", "metrics", 5.0, False, "times",
          lambda r: r.ratio("anomalib-auroc_f1-40M", "ours-auroc_f1-40M", "work_seconds")),
    Bound("AUROC and F1s of 40 million pixels, our extra memory against anomalib's", "metrics", 1 / 3, True, "times",
          lambda r: r.ratio("ours-auroc_f1-40M", "anomalib-auroc_f1-40M", "extra_bytes")),
    Bound("AUPRO of 40 million pixels, our time against anomalib's", "metrics", 1.0, True, "times",
          lambda r: r.ratio("ours-aupro-40M", "anomalib-aupro-40M", "work_seconds")),
    Bound("tables, figures and page from the store", "tools", 10.0, True, "s", lambda r: r.median("render")),
    Bound("the slowest refusal of a wrong request", "tools", 2.0, True, "s", _slowest_refusal),
)  # fmt: skip
