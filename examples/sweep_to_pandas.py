"""Do a sweep from Python and read its records as a pandas table.

    .venv/bin/python examples/sweep_to_pandas.py [STORE]

The images are drawn, so the numbers say nothing about real parts. Without STORE the results go to a temporary folder.
"""

from __future__ import annotations

import sys
import tempfile

import harness
from harness.store import load_frame

store = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()

settings = {
    "dataset": "mini_mvtec",
    "category": "bottle",
    "dataset.limit": 8,
    "backbone": "efficientnet_lite0",
    "backbone.weights": "package",
    "store": store,
}
harness.sweep(settings, over={"seed": [0, 1], "model.epsilon": [0.01, 0.1]})

frame = load_frame(store)
print(frame[["category", "seed", "model.epsilon", "image_auroc", "pixel_auroc"]].to_string(index=False))
print(frame.groupby("model.epsilon")["pixel_auroc"].agg(["mean", "min", "max"]).round(4))
