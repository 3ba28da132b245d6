"""The harness: real PostgreSQL, real Valkey, a real sandbox, and no way out of this machine.

Each pytest-xdist worker has servers of its own. With TRUEUP_DATABASE_URL or TRUEUP_REDIS_URL set,
those servers are used instead: a database of the tests' own there, and a Redis database that must
be empty at the start.
"""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import redis
import structlog
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from backoffice.local.servers import Servers, own_database, throwaway_servers
from reconcile.database import build_engine, build_sessions
from reconcile.settings import PREFIX, Settings
from tests.support.network import loopback_only
from tests.support.sandbox import API_KEY, Sandbox, running_sandbox
from tests.support.servers import empty_database
from tests.support.webhooks import SECRET

ROOT = Path(__file__).parent.parent

# A busy machine makes an example slow, not wrong. A failing one is printed, to be replayed.
hypothesis.settings.register_profile(
    "trueup",
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("trueup")

# Without a configuration it draws every frame's variables, thousands of lines and seconds each.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        ),
    ]
)

# A shell that starts the tests in the background has them ignore Ctrl-C, and whatever they start:
# a process that is told to stop would not hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What the caller set, read once; the tests themselves see none of it.
GIVEN = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}


@pytest.fixture(scope="session", autouse=True)
def _this_machine_only() -> Iterator[None]:
    with loopback_only(), pytest.MonkeyPatch.context() as patch:
        for name in GIVEN:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """PostgreSQL and Valkey for this session, migrated; quick and not durable."""
    with throwaway_servers(
        ROOT / ".trueup",
        database_url=GIVEN.get("TRUEUP_DATABASE_URL", ""),
        redis_url=GIVEN.get("TRUEUP_REDIS_URL", ""),
    ) as found:
        yield found


@pytest.fixture
def database_url(servers: Servers) -> str:
    """The url of the migrated database, without a row in it."""
    empty_database(servers.database_url)
    return servers.database_url


@pytest.fixture
def blank_database_url(servers: Servers) -> Iterator[str]:
    """A new database without a table, for what migrates or breaks its own."""
    with own_database(servers.database_url) as url:
        yield url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on the empty database, as the services build theirs."""
    built = build_engine(database_url)
    yield built
    built.dispose()


@pytest.fixture
def sessions(engine: Engine) -> sessionmaker[Session]:
    """The factory of sessions on the empty database."""
    return build_sessions(engine)


@pytest.fixture
def redis_url(servers: Servers) -> str:
    """The url of the queue's database, without a key in it."""
    with redis.Redis.from_url(servers.redis_url) as client:
        client.flushdb()
    return servers.redis_url


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """A client on the empty queue."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture(scope="session")
def _sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def sandbox(_sandbox: Sandbox) -> Sandbox:
    """The stand-in for Stripe, empty, its clock real and no fault in force."""
    if not _sandbox.process.alive:
        _sandbox.process.start()
        _sandbox.process.wait_ready()
    _sandbox.control("/reset")
    return _sandbox


@pytest.fixture
def make_settings() -> Callable[..., Settings]:
    """Builds settings: the tests' own defaults, overridden by keyword."""

    def make(**overrides: Any) -> Settings:
        defaults: dict[str, Any] = {
            "catalog_path": ROOT / "catalog.example.toml",
            "stripe_api_key": API_KEY,
            "stripe_api_base": "http://127.0.0.1:1",  # nobody listens: ask for `sandbox`
            "webhook_secrets": {"main": SECRET},
        }
        return Settings(**(defaults | overrides))

    return make


@pytest.fixture
def settings(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str, sandbox: Sandbox
) -> Settings:
    """Settings that point at this test's database, queue and sandbox."""
    return make_settings(
        database_url=database_url, redis_url=redis_url, stripe_api_base=sandbox.url
    )


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    """The log lines of this test, as dictionaries."""
    with structlog.testing.capture_logs() as captured:
        yield captured
