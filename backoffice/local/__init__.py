"""Everything on one machine: PostgreSQL and Valkey from wheels, and the project's own processes.

For `trueup up`, the demo and the tests. Production installs none of these wheels and starts its
processes by other means. Nothing in here knows what seats are.
"""
