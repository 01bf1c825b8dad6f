"""Ours without imports: everything is imported first, and the whole of `python -m harness REQUEST ...` timed after it.

    python -m harness.bench.children.warm OUT.json REQUEST ...

Neither of the two simpler ways is fair. The harness decodes while it imports, so a clock that starts where its imports
end leaves that decoding out, and so does the time of an import-only process taken from that of the whole one. With
everything imported before, nothing can hide behind an import; reading the configuration, hashing the images and writing
the record are timed too, and so is any import that this list forgets. Without a request it only imports.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
import time
from pathlib import Path

LIBRARIES = (
    "hydra.core.hydra_config",
    "torch",
    "torchvision.transforms.v2",
    "timm",
    "lightning.pytorch",
    "anomalib.data",
    "anomalib.models.components",
    "anomalib.models.image.padim",
    "anomalib.pre_processing",
    "safetensors.torch",
    "scipy.ndimage",
    "scipy.stats",
    "pandas",
)
OURS = ("harness.data", "harness.metrics", "harness.padim", "harness.store")


def import_everything() -> None:
    """Import whatever a run may use."""
    import harness

    for name in LIBRARIES:
        importlib.import_module(name)
    for module in pkgutil.iter_modules(harness.__path__, "harness."):
        if not module.ispkg:
            importlib.import_module(module.name)
    for package in OURS:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(module.name)
    importlib.import_module("hydra_plugins.grid_sweeper")


def main(out: str, *request: str) -> int:
    """Write the seconds of the imports and of the run; return the run's exit status."""
    started = time.perf_counter()
    import_everything()
    imported = time.perf_counter()
    before = len(sys.modules)
    status = 0
    if request:
        harness_main = importlib.import_module("harness.__main__").main
        status = harness_main(request)
    ended = time.perf_counter()
    taken = {
        "import_seconds": imported - started,
        "work_seconds": ended - imported,
        "late_modules": len(sys.modules) - before,
    }
    Path(out).write_text(json.dumps(taken), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
