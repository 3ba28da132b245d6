"""PostgreSQL: the engine, sessions, locks and migrations. Nothing is built at import."""

import hashlib
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session, sessionmaker

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent.parent / "migrations"
_LOCK_POLL_S = 0.1


def build_engine(database_url: str, *, pool_size: int = 5) -> Engine:
    """Return an engine for a PostgreSQL url; connections are checked before use.

    Raises ValueError for any other database: there is no second SQL dialect.
    """
    url = database_url.replace("postgres://", "postgresql://", 1)
    url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    if not url.startswith("postgresql+psycopg://"):
        raise ValueError("TRUEUP_DATABASE_URL must be a PostgreSQL url")
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        pool_timeout=10,
        connect_args={
            "connect_timeout": 5,
            # A statement that hangs must not hold a worker for ever; migrations set their own.
            # And a machine that is gone without a word must not keep its locks: without these,
            # either side would believe in the other for two hours.
            "options": "-c statement_timeout=30000 -c lock_timeout=10000 -c timezone=UTC "
            "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        },
    )


def build_sessions(engine: Engine) -> sessionmaker[Session]:
    """Return the factory of sessions; entry points open them as `with sessions.begin() as s`."""
    return sessionmaker(engine, expire_on_commit=False)


def _lock_number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


@contextmanager
def exclusive(engine: Engine, name: str) -> Iterator[bool]:
    """Hold the named lock across transactions and Stripe calls; yields False when it is taken.

    A session-level advisory lock on a connection of its own: it needs no open transaction, and
    PostgreSQL lets go of it the moment the holding process dies.
    """
    number = {"number": _lock_number(name)}
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        taken = None
        try:
            taken = bool(connection.scalar(text("select pg_try_advisory_lock(:number)"), number))
            yield taken
        finally:
            try:
                if taken:
                    connection.execute(text("select pg_advisory_unlock(:number)"), number)
                    taken = False
            finally:
                if taken is not False:
                    # Interrupted before it was known, or before it was let go: the pool would keep
                    # the lock with the connection.
                    connection.invalidate()


@contextmanager
def exclusive_within(engine: Engine, name: str, wait_s: float) -> Iterator[bool]:
    """Hold the named lock like `exclusive`, waiting for who has it; yields False after `wait_s`."""
    until = time.monotonic() + wait_s
    while True:
        with exclusive(engine, name) as mine:
            if mine or time.monotonic() >= until:
                yield mine
                return
        time.sleep(_LOCK_POLL_S)


def taken(session: Session, names: Collection[str]) -> set[str]:
    """Return which of the named locks are held at this moment, by whomever."""
    held = session.scalars(
        text(
            "select (classid::bigint << 32) | objid::bigint from pg_locks where locktype = "
            "'advisory' and objsubid = 1 and granted and database = "
            "(select oid from pg_database where datname = current_database())"
        )
    )
    numbers = set(held)
    return {name for name in names if _lock_number(name) in numbers}


def lock_in_transaction(session: Session, name: str) -> None:
    """Wait for the named lock and hold it until the session's transaction ends."""
    session.execute(text("select pg_advisory_xact_lock(:number)"), {"number": _lock_number(name)})


@dataclass(frozen=True, slots=True)
class Server:
    """What the database server says about itself: `18.6`, 180006, and whether it is a replica."""

    version: str
    version_number: int
    read_only: bool


def describe(engine: Engine) -> Server:
    """Return the server's own account of itself. Raises SQLAlchemyError when it is away."""
    asked = (
        "select current_setting('server_version'), "
        "current_setting('server_version_num')::int, pg_is_in_recovery()"
    )
    with engine.connect() as connection:
        return Server(*connection.execute(text(asked)).one())


def _alembic() -> "Config":
    from alembic.config import Config  # noqa: PLC0415 - only who migrates loads Alembic

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def migrate(engine: Engine) -> None:
    """Bring the database to the newest migration; two processes at once do it one after another."""
    from alembic import command  # noqa: PLC0415 - see _alembic

    config = _alembic()
    with engine.begin() as connection:
        connection.execute(text("set local statement_timeout = 0"))
        connection.execute(text("set local lock_timeout = 0"))
        connection.execute(
            text("select pg_advisory_xact_lock(:number)"), {"number": _lock_number("migrate")}
        )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def pending_migrations(engine: Engine) -> bool:
    """Return whether the database is behind the migrations that ship with this code."""
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415 - see _alembic
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - see _alembic

    head = ScriptDirectory.from_config(_alembic()).get_current_head()
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() != head
