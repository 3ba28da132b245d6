"""The inbox's way through: what the relay takes, what a worker claims, what is written down."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.event import listen
from sqlalchemy.orm import Session, sessionmaker

from reconcile.errors import Classified, ErrorClass
from reconcile.store import work as store
from tests.support.inbox import an_event, change_event, the_event

Sessions = sessionmaker[Session]
LEASE = timedelta(seconds=20)
ERROR = Classified(ErrorClass.RETRY, "StripeUnavailable", "Stripe could not be reached")


def ago(**how_long: float) -> datetime:
    return datetime.now(UTC) - timedelta(**how_long)


def ahead(**how_long: float) -> datetime:
    return datetime.now(UTC) + timedelta(**how_long)


def take(sessions: Sessions, limit: int = 100) -> list[str]:
    with sessions.begin() as session:
        return [due.work_key for due in store.take_due(session, limit=limit, lease=LEASE)]


def claim(sessions: Sessions, work_key: str = "sub:sub_1") -> list[str]:
    with sessions.begin() as session:
        return [event.id for event in store.claim(session, work_key, lease=LEASE)]


def test_what_is_due_is_taken_once_per_key_and_oldest_first(sessions: Sessions) -> None:
    with sessions.begin() as session:
        an_event(session, work_key="sub:late", received_at=ago(seconds=1))
        an_event(session, work_key="sub:early", received_at=ago(seconds=60))
        an_event(session, work_key="sub:early", received_at=ago(seconds=2))
        an_event(session, work_key="sub:later", due_at=ahead(hours=1))
        an_event(session, work_key="sub:over", state="done")
        an_event(session, work_key=None, state="ignored", due_at=None)
    assert take(sessions) == ["sub:early", "sub:late"]
    assert take(sessions) == [], "they were put off"


def test_a_hint_that_nobody_took_is_given_again(sessions: Sessions) -> None:
    with sessions.begin() as session:
        event_id = an_event(session)
    assert take(sessions) == ["sub:sub_1"]
    with sessions.begin() as session:
        assert the_event(session, event_id).due_at > ahead(seconds=15)
        change_event(session, event_id, due_at=ago(seconds=1))
    assert take(sessions) == ["sub:sub_1"]


def test_what_somebody_was_to_do_and_did_not_is_known_as_rescued(sessions: Sessions) -> None:
    """A lost hint, a dead worker; not what is new, retried, put off or redelivered."""
    received, past = ago(minutes=5), ago(seconds=1)
    started = {"started_at": ago(minutes=4), "attempts": 1}
    with sessions.begin() as session:

        def row(name: str, **values: object) -> None:
            values = {"received_at": received, "due_at": past} | values
            an_event(session, work_key=f"sub:{name}", **values)

        row("new", due_at=received)
        row("redelivered", last_delivered_at=past)
        row("dated-ahead", kind="request", source="request")
        row("retried", error_class="retry", reason="Stripe is away", **started)
        row("put-off", reason="a change is on its way", **started)
        row("given-back", started_at=ago(minutes=4), attempts=0)
        row("hint-lost", wanted_at=received)
        row("dated-ahead-and-lost", kind="request", source="request", wanted_at=past)
        row("worker-died", **started)
    with sessions.begin() as session:
        taken = store.take_due(session, limit=100, lease=LEASE)
    assert len(taken) == 9
    assert {due.work_key.removeprefix("sub:") for due in taken if due.rescued} == {
        "hint-lost",
        "dated-ahead-and-lost",
        "worker-died",
    }


def test_two_relays_share_what_is_due_without_waiting_for_each_other(sessions: Sessions) -> None:
    with sessions.begin() as session:
        for number in range(10):
            an_event(session, work_key=f"sub:{number}")
    with sessions.begin() as first:
        taken = [due.work_key for due in store.take_due(first, limit=4, lease=LEASE)]
        others: list[str] = []
        other = threading.Thread(target=lambda: others.extend(take(sessions)))
        other.start()
        other.join(timeout=5)
        assert not other.is_alive(), "the second relay waits for the first"
    assert sorted(taken + others) == [f"sub:{number}" for number in range(10)]


def test_no_more_is_taken_than_there_is_room_for(sessions: Sessions) -> None:
    with sessions.begin() as session:
        for number in range(5):
            an_event(session, work_key=f"sub:{number}", due_at=ago(seconds=10 - number))
    assert take(sessions, limit=2) == ["sub:0", "sub:1"]


def test_a_claim_takes_the_whole_batch_of_a_key_newest_first(sessions: Sessions) -> None:
    with sessions.begin() as session:
        old = an_event(session, stripe_created_at=ago(minutes=2))
        new = an_event(session, stripe_created_at=ago(minutes=1))
        an_event(session, work_key="sub:other")
    take(sessions)
    assert claim(sessions) == [new, old]
    with sessions.begin() as session:
        assert the_event(session, old).attempts == the_event(session, new).attempts == 1


def test_the_order_is_stripes_not_that_of_arrival(sessions: Sessions) -> None:
    with sessions.begin() as session:
        new = an_event(session, stripe_created_at=ago(minutes=1), received_at=ago(seconds=9))
        old = an_event(session, stripe_created_at=ago(minutes=2), received_at=ago(seconds=1))
    assert claim(sessions) == [new, old]


def test_a_failed_event_goes_along_and_a_dated_one_stays(sessions: Sessions) -> None:
    with sessions.begin() as session:
        due = an_event(session, stripe_created_at=ago(minutes=1))
        failed = an_event(
            session,
            stripe_created_at=ago(minutes=3),
            due_at=ahead(hours=1),
            attempts=3,
            error_class="retry",
        )
        dated = an_event(session, due_at=ahead(days=20), source="request", kind="request")
    assert claim(sessions) == [due, failed]
    with sessions.begin() as session:
        assert the_event(session, dated).due_at > ahead(days=19)


def test_only_waiting_rows_start_nothing(sessions: Sessions) -> None:
    with sessions.begin() as session:
        failed = an_event(session, due_at=ahead(hours=1), attempts=3, error_class="retry")
    assert claim(sessions) == []
    with sessions.begin() as session:
        assert the_event(session, failed).attempts == 3


def finish(session: Session, batch: list[store.ClaimedEvent]) -> None:
    store.finish(session, batch, outcome="kept: 5 Voice seats")


def bury(session: Session, batch: list[store.ClaimedEvent]) -> None:
    store.bury(session, batch, error=ERROR)


@pytest.mark.parametrize(("record", "state"), [(finish, "done"), (bury, "dead")])
def test_the_end_is_told_on_the_newest_and_the_others_point_to_it(
    sessions: Sessions,
    record: Callable[[Session, list[store.ClaimedEvent]], None],
    state: str,
) -> None:
    with sessions.begin() as session:
        old = an_event(session, stripe_created_at=ago(minutes=2))
        new = an_event(session, stripe_created_at=ago(minutes=1))
    with sessions.begin() as session:
        record(session, store.claim(session, "sub:sub_1", lease=LEASE))
    with sessions.begin() as session:
        told, other = the_event(session, new), the_event(session, old)
    assert (told.state, other.state, other.superseded_by) == (state, "superseded", new)
    assert told.finished_at
    assert other.finished_at
    assert (told.outcome or told.reason) in {"kept: 5 Voice seats", ERROR.line}


def test_a_retry_says_what_went_wrong_and_when_it_goes_on(sessions: Sessions) -> None:
    with sessions.begin() as session:
        event_id = an_event(session)
        batch = store.claim(session, "sub:sub_1", lease=LEASE)
        store.retry(session, batch, error=ERROR, delay=timedelta(minutes=10))
    with sessions.begin() as session:
        row = the_event(session, event_id)
    assert (row.state, row.attempts, row.error_class) == ("pending", 1, "retry")
    assert (row.reason, row.error_fingerprint) == (ERROR.line, ERROR.fingerprint)
    assert ahead(minutes=9) < row.due_at < ahead(minutes=11)


def retry(session: Session, batch: list[store.ClaimedEvent]) -> None:
    store.retry(session, batch, error=ERROR, delay=timedelta(minutes=10))


def postpone(session: Session, batch: list[store.ClaimedEvent]) -> None:
    store.postpone(session, batch, until=ahead(hours=1), reason="in flight")


@pytest.mark.parametrize(
    ("record", "state"), [(retry, "pending"), (postpone, "pending"), (bury, "dead")]
)
def test_a_request_of_our_own_is_not_lost_behind_a_newer_event_before_it_is_done(
    sessions: Sessions,
    record: Callable[[Session, list[store.ClaimedEvent]], None],
    state: str,
) -> None:
    with sessions.begin() as session:
        request = an_event(
            session,
            kind="request",
            type="trueup.renewal.approved",
            stripe_created_at=None,
            received_at=ago(days=20),
        )
        old = an_event(session, stripe_created_at=ago(minutes=2))
        new = an_event(session)
    with sessions.begin() as session:
        batch = store.claim(session, "sub:sub_1", lease=LEASE)
        assert [event.id for event in batch] == [new, old, request]
        record(session, batch)
    with sessions.begin() as session:
        assert (the_event(session, new).state, the_event(session, request).state) == (state, state)
        assert the_event(session, request).due_at == the_event(session, new).due_at
        assert the_event(session, old).superseded_by == new


def test_a_postponed_or_given_back_try_is_not_counted(sessions: Sessions) -> None:
    until = ahead(hours=2)
    with sessions.begin() as session:
        event_id = an_event(session, attempts=2)
        batch = store.claim(session, "sub:sub_1", lease=LEASE)
        assert batch[0].attempts == 3
        store.postpone(session, batch, until=until, reason="an adjustment is in flight")
    with sessions.begin() as session:
        row = the_event(session, event_id)
        assert (row.state, row.attempts, row.due_at) == ("pending", 2, until)
        change_event(session, event_id, due_at=ago(seconds=1))
        batch = store.claim(session, "sub:sub_1", lease=LEASE)
        store.give_back(session, batch)
    with sessions.begin() as session:
        assert the_event(session, event_id).attempts == 2
    assert take(sessions) == ["sub:sub_1"]


def test_what_a_person_discarded_meanwhile_stays_discarded(sessions: Sessions) -> None:
    with sessions.begin() as session:
        event_id = an_event(session)
        batch = store.claim(session, "sub:sub_1", lease=LEASE)
        change_event(session, event_id, state="ignored", finished_at=ago(), reason="discarded")
        store.finish(session, batch, outcome="too late")
    with sessions.begin() as session:
        assert the_event(session, event_id).state == "ignored"


def test_a_busy_key_is_looked_at_again_soon_but_its_leased_rows_are_left(
    sessions: Sessions,
) -> None:
    with sessions.begin() as session:
        leased = an_event(session)
        store.claim(session, "sub:sub_1", lease=LEASE)
    with sessions.begin() as session:
        hinted = an_event(session, due_at=ahead(seconds=20))
        dated = an_event(session, due_at=ahead(days=3))
        store.look_again(session, "sub:sub_1", within=timedelta(seconds=1))
    with sessions.begin() as session:
        assert the_event(session, hinted).due_at < ahead(seconds=2)
        assert the_event(session, leased).due_at > ahead(seconds=10)
        assert the_event(session, dated).due_at > ahead(days=2)


@pytest.mark.parametrize("record", [finish, retry, bury, store.give_back])
def test_rows_are_locked_in_the_order_in_which_the_receiver_writes_them(
    sessions: Sessions, record: Callable[[Session, list[store.ClaimedEvent]], None]
) -> None:
    """Byte by byte: most databases sort texts for people, and would wait for it crosswise."""
    locking: list[str] = []
    with sessions.begin() as session:
        an_event(session, id="evt_a")
        an_event(session, id="evt_B")
        listen(
            session.connection(),
            "before_cursor_execute",
            lambda *told: locking.extend([told[2]] if "FOR UPDATE" in told[2] else []),
        )
        record(session, store.claim(session, "sub:sub_1", lease=LEASE))
    assert len(locking) == 2
    assert all('ORDER BY events.id COLLATE "C"' in statement for statement in locking)
