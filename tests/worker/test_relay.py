"""The relay: hints what is due, keeps the queue short, and outlives what it depends on."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
import redis
from sqlalchemy.orm import Session, sessionmaker

from backoffice.local.network import free_port
from backoffice.local.servers import Servers, throwaway_servers
from reconcile.database import build_engine, build_sessions
from reconcile.settings import Settings
from tests.conftest import ROOT
from tests.support.inbox import an_event, the_event
from tests.support.workshop import Workshop, eventually
from worker.queues import Queue, connect
from worker.relay import hint_due

MakeSettings = Callable[..., Settings]
Sessions = sessionmaker[Session]


@pytest.fixture
def settings(make_settings: MakeSettings, database_url: str, redis_url: str) -> Settings:
    return make_settings(database_url=database_url, redis_url=redis_url, relay_batch=5)


def events(sessions: Sessions, count: int, name: str = "quick") -> list[str]:
    with sessions.begin() as session:
        return [an_event(session, work_key=f"sub:{name}-{number}") for number in range(count)]


def test_the_queue_is_kept_short_and_the_rest_waits_in_the_inbox(
    settings: Settings, sessions: Sessions
) -> None:
    queue = Queue(settings)
    events(sessions, 12)
    assert [hint_due(sessions, queue, settings) for _ in range(3)] == [5, 0, 0]
    assert queue.depth() == 5


def test_seats_go_first_whatever_crowd_of_notices_is_due(
    settings: Settings, sessions: Sessions
) -> None:
    """The host may be slow, and thousands of them due."""
    queue = Queue(settings)
    roomy = settings.model_copy(update={"relay_batch": 500})
    with sessions.begin() as session:
        for number in range(20):
            an_event(
                session, work_key=f"notice:ntc_{number}", due_at=datetime(2026, 1, 1, tzinfo=UTC)
            )
    events(sessions, 3)
    assert [hint_due(sessions, queue, settings) for _ in range(2)] == [5, 0], "two had room"
    assert [key.partition(":")[0] for key in queue.waiting(10)] == ["sub"] * 3 + ["notice"] * 2
    connect(settings).flushdb()
    assert [hint_due(sessions, queue, roomy) for _ in range(2)] == [10, 0], "a few at a time"
    events(sessions, 30, "next")
    assert hint_due(sessions, queue, roomy) == 30
    assert [key.partition(":")[0] for key in queue.waiting(50)] == ["notice"] * 10 + ["sub"] * 30


def test_with_the_queue_away_the_rows_stay_due(
    make_settings: MakeSettings, database_url: str, sessions: Sessions, settings: Settings
) -> None:
    """Away between the look at it and the hint: the rows are put off only if it got them."""

    class Vanishing(Queue):
        def depth(self) -> int:
            return 0

    away = make_settings(redis_url=f"redis://127.0.0.1:{free_port()}/0")
    (event_id,) = events(sessions, 1)
    with sessions() as session:
        due_at = the_event(session, event_id).due_at
    with pytest.raises(redis.ConnectionError):
        hint_due(sessions, Vanishing(away), settings)
    with sessions() as session:
        assert the_event(session, event_id).due_at == due_at


def test_two_relays_give_each_hint_once(workshop: Workshop, redis_client: redis.Redis) -> None:
    lease = {"TRUEUP_HINT_LEASE_S": "60"}
    for number in range(300):
        workshop.event(f"sub:quick-{number}")
    workshop.relay(**lease)
    workshop.relay(**lease)
    eventually(lambda: redis_client.llen("rq:queue:trueup") == 300)
    time.sleep(0.5)
    assert redis_client.llen("rq:queue:trueup") == 300


def test_a_relay_stops_when_told_and_takes_its_sign_of_life_along(
    workshop: Workshop, redis_client: redis.Redis
) -> None:
    relay = workshop.relay()
    event_id = workshop.event("sub:quick-1", due_at=datetime.now(UTC))
    due_at = workshop.row(event_id).due_at
    eventually(lambda: workshop.row(event_id).due_at > due_at)
    eventually(lambda: bool(redis_client.keys("trueup:alive:relay:*")))
    assert relay.stop() == 0
    assert not redis_client.keys("trueup:alive:relay:*")


@pytest.fixture
def own_servers() -> Iterator[Servers]:
    """Servers of this test alone, durable: it kills them."""
    with throwaway_servers(ROOT / ".trueup", durable=True) as servers:
        yield servers


@pytest.fixture
def own_workshop(own_servers: Servers, workshop: Workshop) -> Iterator[Workshop]:
    engine = build_engine(own_servers.database_url)
    workshop.sessions = build_sessions(engine)
    workshop.env["TRUEUP_DATABASE_URL"] = own_servers.database_url
    workshop.env["TRUEUP_REDIS_URL"] = own_servers.redis_url
    yield workshop
    engine.dispose()


def test_nothing_is_lost_when_the_queue_is_emptied_and_killed_under_load(
    own_servers: Servers, own_workshop: Workshop
) -> None:
    assert own_servers.valkey is not None
    shop = own_workshop
    shop.relay()
    shop.worker()
    shop.worker()
    events(shop.sessions, 150, "first")
    eventually(lambda: shop.count("done") > 20)
    own_servers.valkey.client().flushall()
    events(shop.sessions, 150, "second")
    eventually(lambda: shop.count("done") > 170)
    own_servers.valkey.restart_empty()
    events(shop.sessions, 100, "third")
    eventually(lambda: shop.count("done") == 400)
    assert shop.count("pending") == 0
    assert len([key for what, key, _ in shop.entries() if what == "end"]) == 400
    own_servers.valkey.client().flushall()
    queue = Queue(Settings(redis_url=own_servers.redis_url))
    eventually(lambda: len(queue.workers()) == 2)  # no birth is announced twice, and yet
    queue.close()


def test_a_database_killed_in_the_middle_of_the_work_is_waited_for(
    own_servers: Servers, own_workshop: Workshop
) -> None:
    assert own_servers.postgres is not None
    shop = own_workshop
    relay, worker = shop.relay(), shop.worker()
    events(shop.sessions, 200, "first")
    eventually(lambda: shop.count("done") > 20)
    own_servers.postgres.process.kill()
    time.sleep(1)
    own_servers.postgres.start()
    eventually(lambda: _answers(shop))
    assert shop.count("pending") > 0, "it was not in the middle of anything"
    events(shop.sessions, 50, "second")
    eventually(lambda: shop.count("done") == 250)
    assert relay.alive
    assert worker.alive


def _answers(shop: Workshop) -> bool:
    try:
        shop.count("done")
    except Exception:  # noqa: BLE001 - whatever a starting server says
        return False
    return True
