"""Jobs and sweeps: what runs, where, in which passes, and how it ended."""
