"""What `make bench` measures: the harness beside anomalib's own Engine and beside the least that the work can take."""
