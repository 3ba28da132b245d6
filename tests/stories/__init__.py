"""One lifecycle a file, read like the manual."""
