"""Valkey with its own configuration, on a loopback port behind a password nobody else knows."""

import os
import secrets
import shutil
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from backoffice.local.account import make_home
from backoffice.local.binaries import valkey_binary
from backoffice.local.errors import ProcessFailedError
from backoffice.local.network import LOOPBACK, free_port
from backoffice.local.processes import PORT_ATTEMPTS, PORT_TAKEN, Command, Process

_CONFIGURATION = """\
bind {address}
port {port}
requirepass {password}
dir {data}
daemonize no
databases 64
appendonly {append}
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


class Valkey:
    """One Valkey of this machine. `durable=False` keeps everything in memory only."""

    def __init__(self, home: Path, *, durable: bool = True) -> None:
        self._home = make_home(home)
        self._data = self._home / "valkey"
        self._binary = valkey_binary()
        self._durable = durable
        self._password = secrets.token_urlsafe(24)
        self._take_port()

    def url(self, database: int = 0) -> str:
        """The url of a logical database (64 of them) on this server."""
        return f"redis://:{self._password}@{LOOPBACK}:{self._port}/{database}"

    def client(self, database: int = 0) -> redis.Redis:
        """A client that fails at once instead of retrying; the caller closes it."""
        return redis.Redis.from_url(
            self.url(database), retry=Retry(NoBackoff(), 0), socket_timeout=5
        )

    def start(self) -> None:
        """Start the server and wait until it has loaded its data and answers."""
        self._configure()
        for attempt in range(1, PORT_ATTEMPTS + 1):
            self.process.start()
            try:
                self.process.wait_ready()
            except ProcessFailedError:
                # Between choosing a port and taking it somebody else may have.
                if attempt == PORT_ATTEMPTS or PORT_TAKEN not in self.process.tail():
                    raise
                self._take_port()
                self._configure()
            else:
                return

    def stop(self) -> None:
        """Stop it; with `durable` the data is there at the next start."""
        self.process.stop()

    def restart_empty(self) -> None:
        """Kill it and start it again, same port, empty memory: the rehearsal of a lost queue."""
        self.process.kill()
        shutil.rmtree(self._data)
        self._configure()
        self.process.start()
        self.process.wait_ready()

    def _answers(self) -> bool:
        client = self.client()
        try:
            # While it loads it refuses every command with LOADING, a subclass of these.
            return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False
        finally:
            client.close()

    def _take_port(self) -> None:
        self._port = free_port()
        self.process = Process(
            Command(
                name="valkey",
                argv=(str(self._binary), str(self._data / "valkey.conf")),
                env={"PATH": os.defpath, "LC_ALL": "C"},
                ready=self._answers,
            ),
            self._home,
        )

    def _configure(self) -> None:
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._data / "valkey.conf"
        path.touch(mode=0o600)
        path.write_text(
            _CONFIGURATION.format(
                address=LOOPBACK,
                port=self._port,
                password=self._password,
                data=_quoted(self._data),
                append="yes" if self._durable else "no",
            ),
            encoding="utf-8",
        )


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
