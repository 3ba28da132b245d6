"""The two servers the project needs: real ones where urls are given, embedded ones otherwise."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from backoffice.local import leftovers
from backoffice.local.account import make_home, temporary_home, unprivileged_account
from backoffice.local.errors import LocalError
from backoffice.local.postgres import USER, Postgres
from backoffice.local.processes import Process
from backoffice.local.valkey import Valkey
from reconcile.database import build_engine, migrate


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
def local_servers(
    home: Path,
    *,
    database_url: str = "",
    redis_url: str = "",
    durable: bool = True,
    binaries_home: Path | None = None,
) -> Iterator[Servers]:
    """Both servers up, the database created and migrated; what was started here stops at the end.

    `home` is the data directory; one environment at a time may use it, and what an earlier one that
    was killed left running is ended first. LocalError when a server cannot be had.
    """
    with ExitStack() as stack:
        home = make_home(home)
        stack.enter_context(_sole_use_of(home))
        leftovers.end_all(home)
        postgres = valkey = None
        if not database_url:
            postgres = Postgres(home, durable=durable, binaries_home=binaries_home)
            stack.callback(postgres.stop)
            postgres.start()
            postgres.ensure_database(USER)
        if not redis_url:
            valkey = Valkey(home, durable=durable)
            stack.callback(valkey.stop)
            valkey.start()
        servers = Servers(
            database_url=postgres.url() if postgres else database_url,
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
    """The same in a temporary directory that goes at the end; quick rather than safe by default."""
    home = temporary_home(unprivileged_account())
    try:
        with local_servers(
            home,
            database_url=database_url,
            redis_url=redis_url,
            durable=durable,
            binaries_home=binaries_home,
        ) as servers:
            yield servers
    finally:
        shutil.rmtree(home)


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
