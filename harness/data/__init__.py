"""Datasets: what is in them, where the files lie, and how they become batches."""
