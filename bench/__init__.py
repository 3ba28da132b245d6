"""Benchmarks: each a command that prints a ratio or a figure, and exits 0 with it as it is."""
