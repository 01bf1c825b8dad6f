"""Measurements that were never made, for tests of what is made of them."""

from __future__ import annotations

from harness.bench.results import Measurement, Results

MACHINE = {
    "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": True},
    "harness": "0.1.0",
    "python": "3.11.7",
    "packages": {"torch": "2.15.0", "anomalib": "2.7.0"},
    "cpu": "a processor",
    "device": "a processor",
    "threads": None,
    "platform": "Linux",
    "cores": 2,
    "memory_bytes": 2**34,
}
SETTINGS = {
    "repeats": 2,
    "limit": None,
    "dataset": "mvtec/bottle",
    "synthetic": False,
    "n_train": 209,
    "n_test": 83,
    "backbone": "resnet18",
    "weights": "some.safetensors",
    "n_features": 100,
}
ENGINE = {"import": 6.0, "set-up": 0.5, "train pass": 9.9, "fit": 2.4, "validation pass": 4.8, "checkpoint": 0.1,
          "test pass": 5.0, "metrics": 3.0, "end": 0.1}  # fmt: skip
OURS = {"import": 1.9, "weights": 0.02, "load": 0.3, "fit": 4.1, "test": 2.2, "score": 1.1, "metrics": 0.9}


def one(name: str, seconds: float = 1.0, *, repeat: int = 0, peak: int = 2**30, **more: object) -> Measurement:
    """One measurement."""
    return Measurement(name, repeat, seconds, seconds, peak, **more)  # type: ignore[arg-type]


def section(name: str, *measurements: Measurement, **settings: object) -> Results:
    """A section of measurements."""
    return Results(
        name, {**SETTINGS, **settings}, MACHINE, "2026-01-02T03:04:05Z", "2026-01-02T04:04:05Z", measurements
    )


def core(*, ours: float = 12.0, synthetic: bool = False) -> Results:
    """A section `core` of two repeats."""
    measured = []
    for repeat in (0, 1):
        measured += [
            one("floor", 9.7, repeat=repeat, work_seconds=6.2 + repeat),
            one("ours", ours + repeat, repeat=repeat, stages=OURS, numbers={"predicted_rss_bytes": 2.0**30}),
            one("ours-warm", 17.0, repeat=repeat, work_seconds=7.8),
            one("ours-10", 18.0, repeat=repeat),
            one("ours-full", 13.0, repeat=repeat),
            one("ours-10-full", 30.0, repeat=repeat),
            one("anomalib-lean", 33.0, repeat=repeat, stages=ENGINE),
            one("anomalib", 45.0, repeat=repeat, stages={**ENGINE, "test pass": 15.0}),
        ]
    return section("core", *measured, synthetic=synthetic)
