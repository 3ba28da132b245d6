"""Orchestration, store and Stripe calls, on real PostgreSQL and the sandbox."""
