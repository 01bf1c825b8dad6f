"""A reproducible benchmark harness for visual anomaly detection with anomalib's PaDiM."""

__version__ = "0.1.0"
