"""Names that readers of records need without loading the records' models."""

from __future__ import annotations

SCHEMA_VERSION = 2

IMAGE_METRICS = ("image_auroc", "image_f1_max", "image_f1_adaptive")
PIXEL_METRICS = ("pixel_auroc", "pixel_f1_max", "pixel_f1_adaptive", "pixel_aupro")
METRICS = IMAGE_METRICS + PIXEL_METRICS

OK, FAILED = "ok", "failed"

RECORD, SCORES, EXAMPLES = "record.json", "scores.csv", "examples.npz"
"""The files of a run's folder, in the order of their weight: without the first the others do not count."""

RUNS, RUNS_CSV = "runs", "runs.csv"
"""What lies in a store's own folder."""
