"""What finds the things no webhook told: the nightly run, the gap audit and the end-checks.

Each task of the schedule is done once a night, whoever starts it, and goes on where a killed one
stopped. Pruning is one of them.
"""
