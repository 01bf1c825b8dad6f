"""A reproducible benchmark harness for visual anomaly detection on anomalib."""

from harness.api import run, sweep

__version__ = "0.1.0"
__all__ = ["run", "sweep"]
