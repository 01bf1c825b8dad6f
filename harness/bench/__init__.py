"""Measuring whole processes, repeated and interleaved, by public commands; results as JSON, tables and a figure."""
