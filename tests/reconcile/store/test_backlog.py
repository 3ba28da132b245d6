"""How long something was wanted and not taken, of every kind of row; time passes by shifting rows.

`/readyz`, the alert and on-call's screen ask the same: nobody is woken up for what was put off on
purpose, and nothing that waits looks young because it was hinted again.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import DateTime, text
from sqlalchemy.orm import Session, sessionmaker

from reconcile.actor import Actor
from reconcile.errors import Classified, ErrorClass
from reconcile.store import inbox, pauses, renewals, repairs, waiting, work
from reconcile.store.inbox import Backlog
from reconcile.store.look import events_by_ids
from reconcile.tables import events
from tests.reconcile.store.test_inbox import event_row
from tests.support.inbox import an_event

Sessions = sessionmaker[Session]
KIM = Actor("cli:kim", because="the cause is gone")
LEASE = timedelta(seconds=20)
ERROR = Classified(ErrorClass.RETRY, "StripeUnavailable", "Stripe could not be reached")
KEY, TYPE = "sub:sub_1", "customer.subscription.updated"
MOMENT, NEARLY, MINUTE, WEEKS = (timedelta(seconds=n) for n in (5, 15, 60, 20 * 86_400))


def later(sessions: Sessions, passed: timedelta) -> None:
    """Let time pass: the database's clock goes on by itself, so every time of a row goes back."""
    times = (each.name for each in events.columns if isinstance(each.type, DateTime))
    shifted = ", ".join(f"{name} = {name} - :passed" for name in times)
    with sessions.begin() as session:
        session.execute(text(f"update events set {shifted}"), {"passed": passed})  # noqa: S608 - names


def backlog(sessions: Sessions) -> Backlog:
    with sessions() as session:
        return inbox.backlog(session.connection(), hint_lease_s=LEASE.total_seconds())


def age_s(sessions: Sessions) -> float | None:
    return backlog(sessions).oldest_age_s


def hint(sessions: Sessions) -> int:
    with sessions.begin() as session:
        return len(work.take_due(session, limit=10, lease=LEASE))


def claim(sessions: Sessions) -> list[work.ClaimedEvent]:
    with sessions.begin() as session:
        return work.claim(session, KEY, lease=LEASE)


def arrives(sessions: Sessions) -> timedelta:
    """A webhook."""
    with sessions.begin() as session:
        inbox.accept(session.connection(), [event_row()])
    return timedelta()


def is_dated_ahead(sessions: Sessions) -> timedelta:
    """A lowering at the end of a period, hinted, and planned anew for its last hour."""
    for ahead in (MINUTE, WEEKS):
        hint(sessions)
        with sessions.begin() as session:
            due_at, end = datetime.now(UTC) + ahead, datetime(2027, 1, 1, tzinfo=UTC)
            renewals.plan_lowering(session, "sub_1", {}, period_end=end, due_at=due_at)
        later(sessions, 2 * MINUTE)
    return WEEKS - 2 * MINUTE


def is_requeued(sessions: Sessions) -> timedelta:
    """The tail of many dead letters, which are requeued so many a second."""
    with sessions.begin() as session:
        event_id = an_event(session)
    batch = claim(sessions)
    later(sessions, LEASE + MINUTE)
    hint(sessions)
    with sessions.begin() as session:
        work.bury(session, batch, error=ERROR)
    later(sessions, timedelta(days=3))
    with sessions.begin() as session:
        event = events_by_ids(session, [event_id])[event_id]
        repairs.requeue(session, repairs.Requeue(event=event, due_in=WEEKS), KIM)
    return WEEKS


def is_held_by_a_pause(sessions: Sessions) -> timedelta:
    """Hinted when it came in and again and again since; it looks again by itself."""
    arrives(sessions)
    with sessions.begin() as session:
        pauses.add(session, pauses.TYPE, TYPE, KIM)
    for _ in range(3):
        assert hint(sessions) == 1
        with sessions.begin() as session:
            assert pauses.hold(session, KEY, lease=LEASE) == 1
            assert not work.claim(session, KEY, lease=LEASE)
        later(sessions, pauses.LOOK_AGAIN)
    return timedelta()


def is_freed_from_a_pause(sessions: Sessions) -> timedelta:
    is_held_by_a_pause(sessions)
    hint(sessions)
    later(sessions, timedelta(hours=1))
    with sessions.begin() as session:
        ended = pauses.end(session, pauses.TYPE, TYPE, KIM)
        assert ended is not None
        assert pauses.free(session, ended[0]) == 1
    return timedelta()


def waits_for_its_next_try(sessions: Sessions) -> timedelta:
    """Its worker took longer than the lease, so that it was hinted once more meanwhile."""
    arrives(sessions)
    later(sessions, timedelta(days=2))
    hint(sessions)
    batch = claim(sessions)
    assert age_s(sessions) is None, "it was taken"
    later(sessions, LEASE + MINUTE)
    hint(sessions)
    with sessions.begin() as session:
        work.retry(session, batch, error=ERROR, delay=WEEKS)
    return WEEKS


def was_put_off(sessions: Sessions) -> timedelta:
    arrives(sessions)
    batch = claim(sessions)
    later(sessions, LEASE + MINUTE)
    hint(sessions)
    with sessions.begin() as session:
        until = datetime.now(UTC) + WEEKS
        work.postpone(session, batch, until=until, reason="a change is on its way")
    return WEEKS


def was_given_back(sessions: Sessions) -> timedelta:
    arrives(sessions)
    later(sessions, timedelta(days=2))
    batch = claim(sessions)
    later(sessions, LEASE + MINUTE)
    hint(sessions)
    with sessions.begin() as session:
        work.give_back(session, batch)
    return timedelta()


def was_left_by_a_worker_that_died(sessions: Sessions) -> timedelta:
    arrives(sessions)
    later(sessions, timedelta(days=2))
    claim(sessions)
    return LEASE


def was_left_by_who_asked(sessions: Sessions) -> timedelta:
    """A member's request for a seat: hinted after its lease, and handed over a moment later."""
    with sessions.begin() as session:
        due_at = datetime.now(UTC) + MINUTE
        asked = waiting.add(session, "org_1", "mem_1", actor=KIM, due_at=due_at)
    later(sessions, 10 * MINUTE)
    hint(sessions)
    with sessions.begin() as session:
        waiting.hand_over(session, asked, due_at=datetime.now(UTC))
    return timedelta()


@pytest.mark.parametrize(
    "happens",
    [
        arrives,
        is_dated_ahead,
        is_requeued,
        is_freed_from_a_pause,
        waits_for_its_next_try,
        was_put_off,
        was_given_back,
        was_left_by_a_worker_that_died,
        was_left_by_who_asked,
    ],
)
def test_it_is_wanted_from_when_it_is_due_however_often_it_is_hinted(
    sessions: Sessions, happens: Callable[[Sessions], timedelta]
) -> None:
    """Nobody takes it: the relay hints it whenever the lease of the last hint ran out."""
    due_in = happens(sessions)
    if due_in > NEARLY:
        later(sessions, due_in - NEARLY)
        assert backlog(sessions) == Backlog(1), "nearly due is not due"
        later(sessions, NEARLY)
    assert age_s(sessions) == pytest.approx(0, abs=5)
    for round_ in range(1, 6):
        assert hint(sessions) == 1
        later(sessions, MINUTE)
        assert age_s(sessions) == pytest.approx(60 * round_, abs=5)


def test_what_a_pause_holds_is_not_wanted(sessions: Sessions) -> None:
    is_held_by_a_pause(sessions)
    assert backlog(sessions) == Backlog(1)
    with sessions.begin() as session:
        taken = work.take_due(session, limit=10, lease=LEASE)
    assert [each.rescued for each in taken] == [False], "it looks again by itself"
    later(sessions, timedelta(hours=1))
    assert backlog(sessions) == Backlog(1), "nor when nobody takes the hint to look again"


def test_to_be_due_sooner_is_to_be_wanted_for_as_long(sessions: Sessions) -> None:
    """Stripe delivers it again, or another worker has its key at the moment."""
    row = event_row()

    def delivered(session: Session) -> None:
        inbox.accept(session.connection(), [row])

    def found_busy(session: Session) -> None:
        work.look_again(session, KEY, within=timedelta())

    for happens in (delivered, found_busy, delivered):
        with sessions.begin() as session:
            happens(session)
        assert hint(sessions) == 1
        later(sessions, LEASE - MOMENT)
    assert age_s(sessions) == pytest.approx(45, abs=5)


def test_the_one_that_waits_longest_is_named(sessions: Sessions) -> None:
    assert backlog(sessions) == Backlog(0)
    with sessions.begin() as session:
        an_event(session, work_key="sub:sub_2")
        longest = an_event(session, work_key="sub:sub_3")
        an_event(session, state="done")
    later(sessions, MINUTE)
    with sessions.begin() as session:
        session.execute(text("update events set due_at = now() where id <> :id"), {"id": longest})
    assert hint(sessions) == 2
    assert (found := backlog(sessions)).oldest_id == longest
    assert found.unfinished == 2
    assert found.oldest_age_s == pytest.approx(61, abs=5)


def test_a_host_whose_clock_is_behind_makes_nothing_old(sessions: Sessions) -> None:
    with sessions.begin() as session:
        past = datetime.now(UTC) - timedelta(days=300)
        inbox.add_request(
            session, type="trueup.roster.changed", work_key=KEY, payload={}, due_at=past
        )
    assert age_s(sessions) == pytest.approx(0, abs=5)
