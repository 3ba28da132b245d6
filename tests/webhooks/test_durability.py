"""2xx means durable: whatever is killed, every event that was answered 2xx is in the table."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import redis
import requests
from sqlalchemy import Engine, text

from backoffice.local.servers import Servers, throwaway_servers
from reconcile.database import build_engine
from tests.conftest import ROOT
from tests.support.stripe_events import snapshot, subscription
from tests.support.webhooks import post_event
from tests.support.workshop import eventually
from tests.webhooks.conftest import Receiver, running_receiver

StartReceiver = Callable[..., AbstractContextManager[Receiver]]
SENDERS = 16


@pytest.fixture
def durable_servers() -> Iterator[Servers]:
    """Servers of the test's own, PostgreSQL with fsync on, to be killed."""
    with throwaway_servers(ROOT / ".trueup", durable=True) as own:
        yield own


def a_change(**fields: Any) -> dict[str, Any]:
    return snapshot("customer.subscription.updated", subscription(), **fields)


class Senders:
    """Threads that deliver events until told to stop, and remember what was answered."""

    def __init__(self, url: str) -> None:
        self.accepted: set[str] = set()
        self.statuses: set[int] = set()
        self._url = url
        self._stop = threading.Event()

    def __enter__(self) -> "Senders":
        self._pool = ThreadPoolExecutor(SENDERS)
        for _ in range(SENDERS):
            self._pool.submit(self._send)
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._pool.shutdown()

    def send(self) -> int | None:
        """Deliver one event; what was answered, None when nobody did."""
        event = a_change()
        try:
            answer = post_event(self._url, event, timeout_s=15)
        except requests.RequestException:
            return None
        self.statuses.add(answer.status_code)
        if answer.ok:
            self.accepted.add(event["id"])
        return answer.status_code

    def _send(self) -> None:
        while not self._stop.is_set():
            if self.send() is None:
                time.sleep(0.01)

    def wait_for(self, count: int, within_s: float = 60) -> None:
        deadline = time.monotonic() + within_s
        while len(self.accepted) < count:
            assert time.monotonic() < deadline, f"only {len(self.accepted)} were accepted"
            time.sleep(0.01)


def ids(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.scalars(text("select id from events")))


def test_a_killed_receiver_has_lost_nothing_it_accepted(
    start_receiver: StartReceiver, engine: Engine
) -> None:
    with start_receiver() as running, Senders(running.url) as senders:
        senders.wait_for(300)
        with engine.begin() as connection:
            # Nothing can commit now: whatever is answered from here on was not durable.
            connection.execute(text("lock table events in access exclusive mode"))
            time.sleep(0.3)
            running.process.kill()
        accepted = set(senders.accepted)
    assert len(accepted) >= 300
    assert accepted <= ids(engine)


def test_sigterm_answers_what_is_under_way(
    start_receiver: StartReceiver, engine: Engine, redis_client: redis.Redis
) -> None:
    """And nobody takes it for a living one."""
    with start_receiver() as running, Senders(running.url) as senders:
        senders.wait_for(200)
        eventually(lambda: bool(redis_client.keys("trueup:alive:receiver:*")))
        assert running.process.stop() == 0
    eventually(lambda: not redis_client.keys("trueup:alive:receiver:*"))
    assert senders.statuses == {200}
    assert senders.accepted <= ids(engine)


def test_no_worker_outlives_a_killed_watcher(start_receiver: StartReceiver) -> None:
    with start_receiver() as running:
        watcher = running.process.pid
        running.process.send_signal(signal.SIGKILL)  # the watcher alone, not its workers
        eventually(lambda: not running.process.alive)
        eventually(lambda: not _anybody_in(group=watcher))


def _anybody_in(group: int) -> bool:
    """The door may be closed while one still says that it lives: ask for the processes."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_killed_database_has_lost_nothing_and_comes_back_by_itself(
    durable_servers: Servers, tmp_path: Path
) -> None:
    postgres = durable_servers.postgres
    assert postgres is not None
    with (
        running_receiver(tmp_path, durable_servers) as running,
        Senders(running.url) as senders,
    ):
        senders.wait_for(200)
        postgres.process.kill()
        started = time.monotonic()
        # A commit that PostgreSQL's processes have in hands by now may still be made, and accepted.
        eventually(lambda: senders.send() == 503)
        assert time.monotonic() - started < 15
        assert requests.get(f"{running.url}/healthz", timeout=30).ok
        unready = requests.get(f"{running.url}/readyz", timeout=10)
        assert unready.status_code == 503
        assert unready.json()["checks"]["database"].startswith("no answer")
        postgres.start()
        senders.wait_for(len(senders.accepted) + 200)
    assert senders.statuses <= {200, 503}
    engine = build_engine(durable_servers.database_url)
    try:
        assert senders.accepted <= ids(engine)
    finally:
        engine.dispose()


def test_a_connection_that_died_meanwhile_is_not_the_senders_problem(
    start_receiver: StartReceiver, engine: Engine
) -> None:
    with start_receiver() as running:
        # Enough of them that both of the receiver's processes hold a connection.
        for _ in range(20):
            assert post_event(running.url, a_change()).status_code == 200
        with engine.connect() as connection:
            connection.execute(
                text(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where datname = current_database() and pid <> pg_backend_pid()"
                )
            )
        answers = {post_event(running.url, a_change()).status_code for _ in range(20)}
    assert answers == {200}


def test_a_locked_table_is_a_503_in_time_and_the_row_is_kept(
    start_receiver: StartReceiver, engine: Engine
) -> None:
    event = a_change()
    with start_receiver() as running:
        assert post_event(running.url, a_change()).status_code == 200
        with engine.begin() as connection:
            connection.execute(text("lock table events in access exclusive mode"))
            started = time.monotonic()
            assert post_event(running.url, event).status_code == 503
            assert time.monotonic() - started < 15
        assert post_event(running.url, event).status_code == 200
    assert event["id"] in ids(engine)


def test_one_event_from_everywhere_at_once_is_one_row(
    start_receiver: StartReceiver, engine: Engine
) -> None:
    shared = [a_change() for _ in range(5)]
    with start_receiver() as running, ThreadPoolExecutor(SENDERS) as pool:
        answers = list(
            pool.map(lambda number: post_event(running.url, shared[number % 5]), range(200))
        )
    assert {answer.status_code for answer in answers} == {200}
    with engine.connect() as connection:
        counted = connection.execute(text("select deliveries from events")).scalars().all()
    assert list(counted) == [40] * 5
