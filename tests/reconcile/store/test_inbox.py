"""Law 2 in the database: a redelivery re-arms an unfinished row and is only counted otherwise."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import Connection, Engine, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from reconcile.envelope import InboxRow, read_event
from reconcile.store import inbox
from reconcile.tables import events
from tests.reconcile.test_envelope import OURS, mangled_bodies, read
from tests.support.stripe_events import snapshot, subscription


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as opened:
        yield opened


def event_row(**fields: Any) -> InboxRow:
    return read(snapshot("customer.subscription.updated", subscription(), **fields))


def stored(connection: Connection, event_id: str) -> Any:
    return connection.execute(select(events).where(events.c.id == event_id)).one()


def test_a_row_arrives_as_it_was_read(connection: Connection) -> None:
    row = event_row()
    inbox.accept(connection, [row])
    found = stored(connection, row.id)
    for name in InboxRow.__dataclass_fields__:
        assert getattr(found, name) == getattr(row, name), name
    assert found.due_at == found.received_at == found.last_delivered_at
    assert (found.deliveries, found.attempts, found.finished_at) == (1, 0, None)


def test_an_ignored_row_is_finished_and_never_due(connection: Connection) -> None:
    row = event_row(livemode=True)
    inbox.accept(connection, [row])
    found = stored(connection, row.id)
    assert (found.state, found.due_at) == ("ignored", None)
    assert found.finished_at is not None
    assert found.reason.startswith("wrong mode")


def test_a_redelivery_rearms_an_unfinished_row(connection: Connection) -> None:
    row = event_row()
    inbox.accept(connection, [row])
    later = datetime.now(UTC) + timedelta(hours=1)
    connection.execute(update(events).values(due_at=later, attempts=3))
    inbox.accept(connection, [row])
    found = stored(connection, row.id)
    assert found.due_at <= datetime.now(UTC)
    assert (found.deliveries, found.attempts, found.state) == (2, 3, "pending")
    assert found.last_delivered_at > found.received_at


def test_a_row_that_is_due_keeps_its_place_in_the_line(connection: Connection) -> None:
    row = event_row()
    inbox.accept(connection, [row])
    first = stored(connection, row.id).due_at
    inbox.accept(connection, [row])
    assert stored(connection, row.id).due_at == first


@pytest.mark.parametrize("state", ["done", "superseded", "dead", "ignored"])
def test_a_finished_row_is_only_counted(connection: Connection, state: str) -> None:
    row = event_row()
    inbox.accept(connection, [row])
    connection.execute(update(events).values(state=state, finished_at=text("now()"), due_at=None))
    before = stored(connection, row.id)
    inbox.accept(connection, [row, row])
    after = stored(connection, row.id)
    assert (after.deliveries, after.state, after.due_at) == (3, state, None)
    assert after.finished_at == before.finished_at


def test_one_event_twice_in_a_batch_is_one_row(connection: Connection) -> None:
    row, other = event_row(), event_row()
    inbox.accept(connection, [row, other, row])
    assert stored(connection, row.id).deliveries == 2
    assert stored(connection, other.id).deliveries == 1


def test_two_writers_with_the_same_events_do_not_lock_each_other_out(
    connection: Connection, engine: Engine
) -> None:
    rows = [event_row() for _ in range(150)]
    inbox.accept(connection, rows)

    def deliver(batch: list[InboxRow]) -> None:
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as own:
            for _ in range(25):
                inbox.accept(own, batch)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(deliver, [rows, rows[::-1]]))
    counted = connection.execute(text("select distinct deliveries from events")).scalars().all()
    assert list(counted) == [51]


def test_nothing_to_store_is_no_statement(connection: Connection) -> None:
    inbox.accept(connection, [])
    assert connection.scalar(text("select count(*) from events")) == 0


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=mangled_bodies())
def test_postgres_takes_whatever_was_read(connection: Connection, body: bytes) -> None:
    row = read_event(body, OURS, source="webhook")
    inbox.accept(connection, [row])
    assert bytes(stored(connection, row.id).payload)[:1] == b"{"


def test_our_own_request_commits_with_what_it_reports(
    engine: Engine, sessions: sessionmaker[Session]
) -> None:
    due_at = datetime.now(UTC) + timedelta(minutes=5)
    asked: dict[str, Any] = {
        "type": "trueup.roster.changed",
        "work_key": "org:org_1",
        "payload": {"rows": 2},
        "due_at": due_at,
    }
    with sessions() as session:
        inbox.add_request(session, **asked)
        session.rollback()
    with sessions.begin() as session:
        request_id = inbox.add_request(session, **asked)
    with engine.connect() as connection:
        assert connection.scalar(text("select count(*) from events")) == 1
        found = stored(connection, request_id)
    assert request_id.startswith("tru_")
    assert (found.source, found.kind, found.state) == ("request", "request", "pending")
    assert (found.organization_id, found.due_at) == ("org_1", due_at)
    assert orjson.loads(found.payload) == {"rows": 2}
