"""Do one run from Python and print its metrics with their intervals.

    .venv/bin/python examples/one_run.py [STORE]

The images are drawn, so the numbers say nothing about real parts. Without STORE the results go to a temporary folder.
"""

from __future__ import annotations

import sys
import tempfile

import harness

store = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()

record = harness.run(
    {
        "dataset": "mini_mvtec",
        "category": "bottle",
        "dataset.limit": 8,
        "backbone": "efficientnet_lite0",
        "backbone.weights": "package",
        "store": store,
    }
)
if record.status != "ok":
    sys.exit(f"the run failed: {record.error}")

for name, value in record.values.items():
    interval = record.intervals.get(name)
    between = f"  [{interval.low:.4f}, {interval.high:.4f}]" if interval else ""
    print(f"{name:<16} {value:.4f}{between}" if value is not None else f"{name:<16} has no value")
