"""Databases for tests: made once a session, emptied before each test."""

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import make_url

ENDED_WITHIN_MS = 30_000
# A table that has grown past this is given new files; that costs more than a few rows do.
FEW_BYTES = 1_000_000


def connect(database_url: str) -> psycopg.Connection:
    """A plain autocommit connection to the database of a SQLAlchemy url."""
    url = make_url(database_url).set(drivername="postgresql")
    return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)


def empty_database(database_url: str) -> None:
    """Take every row out, whoever still holds one: left-over connections are ended."""
    with connect(database_url) as connection:
        # Each is waited for: what it was about to commit is there, or never will be.
        connection.execute(
            "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND backend_type = 'client backend'",
            (ENDED_WITHIN_MS,),
        )
        # Foreign keys would ask for an order, and the audit trail's trigger refuses, as it should.
        connection.execute("SET session_replication_role = replica")
        tables = connection.execute(
            "SELECT tablename, pg_relation_size(quote_ident(tablename)::regclass) FROM pg_tables "
            "WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        ).fetchall()
        for name, size in tables:
            if size:
                emptied = "DELETE FROM {}" if size <= FEW_BYTES else "TRUNCATE {} CASCADE"
                connection.execute(SQL(emptied).format(Identifier(name)))
        connection.execute(
            "SELECT setval(quote_ident(sequencename)::regclass, start_value, false) "
            "FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL"
        )
