"""The tests mirror the source; stories and faults go through all of it."""
