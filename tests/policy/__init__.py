"""The pure decisions, row by row."""
