"""The real receiver: granian in its own process, in front of real servers."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from backoffice.local import parts
from backoffice.local.processes import Process, started_on_a_free_port
from backoffice.local.servers import Servers
from reconcile.settings import PREFIX
from tests.support.webhooks import SECRET

CONNECT_SECRET = "whsec_of_connect"


@dataclass(frozen=True)
class Receiver:
    """A running receiver."""

    url: str
    process: Process


@contextmanager
def running_receiver(home: Path, servers: Servers, **settings: str) -> Iterator[Receiver]:
    """A receiver on a free port; settings by their plain names override the tests' own."""
    named = {
        "database_url": servers.database_url,
        "redis_url": servers.redis_url,
        "stripe_api_key": "sk_test_of_the_tests",
        "webhook_secrets": f"main={SECRET},connect={CONNECT_SECRET},empty=",
    } | settings
    environment = dict(os.environ) | {
        f"{PREFIX}{name.upper()}": value for name, value in named.items()
    }
    process, port = started_on_a_free_port(partial(parts.receiver, environment), home)
    try:
        yield Receiver(parts.url(port), process)
    finally:
        process.kill()


@pytest.fixture(scope="module")
def shared_receiver(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Receiver]:
    """One receiver for a module's tests, with a body cap of 20,000 bytes."""
    home = tmp_path_factory.mktemp("receiver")
    with running_receiver(home, servers, webhook_max_body_bytes="20000") as running:
        yield running


@pytest.fixture
def receiver(shared_receiver: Receiver, database_url: str) -> Receiver:
    """The module's receiver in front of an empty inbox."""
    return shared_receiver


@pytest.fixture
def start_receiver(
    tmp_path: Path, servers: Servers, database_url: str
) -> Callable[..., AbstractContextManager[Receiver]]:
    """Starts a receiver with settings of its own."""
    return partial(running_receiver, tmp_path, servers)


@pytest.fixture
def count_events(engine: Engine) -> Callable[[], int]:
    """How many rows the inbox has."""

    def count() -> int:
        with engine.connect() as connection:
            return int(connection.scalar(text("select count(*) from events")) or 0)

    return count
