"""What runs in a measured process: each module is one contestant, started by its path or with `python -m`."""
