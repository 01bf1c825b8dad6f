"""Register a metric of your own, do one run with it, and print its value.

    .venv/bin/python examples/custom_metric.py [STORE]

The images are drawn, so the numbers say nothing about real parts. Without STORE the results go to a temporary folder.
A metric that every run should have goes into a file of harness/metrics/ instead: CONTRIBUTING.md says how.
"""

from __future__ import annotations

import sys
import tempfile

import harness
from harness.metrics import Images, metric

store = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()


@metric(name="image_top1", level="image", label="Image top-1", needs={"scores"})
def top1(sample: Images) -> float:
    """Return 1 where the highest score is an anomalous image's, else 0."""
    return float(sample.labels[sample.scores.argmax()])


record = harness.run(
    {
        "dataset": "mini_mvtec",
        "category": "bottle",
        "dataset.limit": 8,
        "backbone": "efficientnet_lite0",
        "backbone.weights": "package",
        "store": store,
        "refresh": True,  # a run that the store has from before would lack the new metric
    }
)
if record.status != "ok":
    sys.exit(f"the run failed: {record.error}")
print(f"image_top1 {record.values['image_top1']:.0f}")
