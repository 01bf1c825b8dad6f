"""A reproducible benchmark harness for visual anomaly detection on anomalib."""

import logging

from harness.api import run, sweep

logging.getLogger(__name__).addHandler(logging.NullHandler())  # without verbose=true no line of ours is printed

__version__ = "0.1.0"
__all__ = ["run", "sweep"]
