"""Databases for tests: made once a session, emptied before each test."""

import psycopg
from sqlalchemy import make_url


def connect(database_url: str) -> psycopg.Connection:
    """A plain autocommit connection to the database of a SQLAlchemy url."""
    url = make_url(database_url).set(drivername="postgresql")
    return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)


def empty_database(database_url: str) -> None:
    """Take every row out, whoever still holds one: left-over connections are ended."""
    with connect(database_url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        tables = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
            "WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        ).fetchall()
        filled = [
            table
            for (table,) in tables
            if connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()  # noqa: S608  # quoted
        ]
        if filled:
            # The audit trail's trigger refuses it otherwise, as it should.
            connection.execute("SET session_replication_role = replica")
            connection.execute(f"TRUNCATE {', '.join(filled)} RESTART IDENTITY CASCADE")
