"""The two servers the project needs: real ones where urls are given, embedded ones otherwise."""

import fcntl
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import redis
from psycopg import sql
from sqlalchemy import make_url

from backoffice.local import leftovers
from backoffice.local.account import make_home, temporary_home, unprivileged_account
from backoffice.local.errors import LocalError
from backoffice.local.postgres import USER, Postgres
from backoffice.local.processes import Process
from backoffice.local.valkey import Valkey
from reconcile.database import build_engine, migrate

# Beside the database that lasts, so that a rehearsal takes nothing away from it.
REHEARSAL = "rehearsal"


@dataclass(frozen=True)
class Servers:
    """Where the servers are; the embedded ones themselves, None where the url was given."""

    database_url: str
    redis_url: str
    postgres: Postgres | None
    valkey: Valkey | None

    @property
    def processes(self) -> list[Process]:
        """The embedded servers' processes, for a supervisor to watch."""
        return [server.process for server in (self.postgres, self.valkey) if server]


@contextmanager
def local_servers(  # noqa: PLR0913 - each by name, and each with a default
    home: Path,
    *,
    database_url: str = "",
    redis_url: str = "",
    durable: bool = True,
    lasting: bool = True,
    rehearsal: bool = False,
    binaries_home: Path | None = None,
) -> Iterator[Servers]:
    """Both servers up, the database created and migrated; what was started here stops at the end.

    `home` is the data directory; one environment at a time may use it, and what an earlier one that
    was killed left running is ended first. See `Postgres` for `durable` and `lasting`; a rehearsal
    has an embedded database of its own that begins empty. LocalError when a server cannot be had.
    """
    with ExitStack() as stack:
        home = make_home(home)
        stack.enter_context(_sole_use_of(home))
        leftovers.end_all(home)
        postgres = valkey = None
        database = REHEARSAL if rehearsal else USER
        if not database_url:
            postgres = Postgres(home, durable=durable, lasting=lasting, binaries_home=binaries_home)
            stack.callback(postgres.stop)
            postgres.start()
            if rehearsal:
                postgres.empty_database(database)
            else:
                postgres.ensure_database(database)
        if not redis_url:
            valkey = Valkey(home, durable=durable)
            stack.callback(valkey.stop)
            valkey.start()
        servers = Servers(
            database_url=postgres.url(database) if postgres else database_url,
            redis_url=valkey.url() if valkey else redis_url,
            postgres=postgres,
            valkey=valkey,
        )
        migrate_database(servers.database_url)
        yield servers


@contextmanager
def throwaway_servers(
    binaries_home: Path, *, database_url: str = "", redis_url: str = "", durable: bool = False
) -> Iterator[Servers]:
    """The same, gone without a trace at the end; quick rather than safe by default.

    On a PostgreSQL that was given, a database of its own. A Redis database that was given must be
    empty: LocalError otherwise.
    """
    home = temporary_home(unprivileged_account())
    try:
        with ExitStack() as stack:
            if database_url:
                database_url = stack.enter_context(own_database(database_url))
            if redis_url:
                _refuse_unless_empty(redis_url)
                stack.callback(_empty, redis_url)
            yield stack.enter_context(
                local_servers(
                    home,
                    database_url=database_url,
                    redis_url=redis_url,
                    durable=durable,
                    lasting=False,
                    binaries_home=binaries_home,
                )
            )
    finally:
        shutil.rmtree(home)


@contextmanager
def own_database(server_url: str) -> Iterator[str]:
    """The url of a new and empty database on the server of this url; dropped at the end."""
    name = f"trueup_{secrets.token_hex(6)}"
    identifier = sql.Identifier(name)
    url = make_url(server_url)
    if url.get_backend_name() != "postgresql":
        raise LocalError("TRUEUP_DATABASE_URL must be a PostgreSQL url")
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
        try:
            yield url.set(database=name).render_as_string(hide_password=False)
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


def _refuse_unless_empty(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        if client.dbsize():
            raise LocalError(
                "the Redis database of TRUEUP_REDIS_URL has keys in it, and this would empty it: "
                "name another one (redis://host:port/15)"
            )


def _empty(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()


def migrate_database(database_url: str) -> None:
    """Bring the database of this url to the newest migration."""
    engine = build_engine(database_url, pool_size=1)
    try:
        migrate(engine)
    finally:
        engine.dispose()


@contextmanager
def _sole_use_of(home: Path) -> Iterator[None]:
    """Hold the directory's lock; the system lets go of it when this process ends in any way."""
    with (home / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalError(
                f"another `trueup up` or `trueup demo` is using {home}. Stop it first, or set "
                "TRUEUP_DATA_DIR to another directory."
            ) from None
        yield
