"""Settings: what a request may say, how its keys become runs, and experiments."""
