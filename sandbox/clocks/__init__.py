"""Time: the sandbox's own clock, test clocks, and what becomes due on them."""
