"""The public door, through real HTTP."""
