"""PaDiM: anomalib's model, fitted in one stream, and anomalib's own Engine as the oracle."""
