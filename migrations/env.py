"""Runs migrations on the connection that `reconcile.database.migrate` hands over."""

from alembic import context

from reconcile.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, compare_type=True)
with context.begin_transaction():
    context.run_migrations()
