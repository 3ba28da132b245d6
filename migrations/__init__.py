"""Alembic migrations of the database described in `reconcile/tables.py`."""
