"""Databases for tests: made once a session, emptied before each test."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from backoffice.local.servers import migrate_database


def connect(database_url: str) -> psycopg.Connection:
    """A plain autocommit connection to the database of a SQLAlchemy url."""
    url = make_url(database_url).set(drivername="postgresql")
    return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)


@contextmanager
def extra_database(server_url: str, *, migrated: bool) -> Iterator[str]:
    """The url of a database of its own on the same server; dropped at the end."""
    name = f"trueup_test_{secrets.token_hex(6)}"
    identifier = sql.Identifier(name)
    url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
    with connect(server_url) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
        try:
            if migrated:
                migrate_database(url)
            yield url
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


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
            connection.execute(f"TRUNCATE {', '.join(filled)} RESTART IDENTITY CASCADE")
