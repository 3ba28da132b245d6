"""Requeue and discard: counted first, in order, on record, reversible, and harmless to repeat."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from reconcile.envelope import Ours, read_event
from reconcile.operating import pausing, repairing
from reconcile.services import Services
from reconcile.settings import Settings
from reconcile.settling.course import Settled
from reconcile.settling.work import work_off
from reconcile.store import inbox, renewals, waiting
from reconcile.store.look import Filters
from reconcile.store.pauses import TYPE
from tests.support import stripe_events
from tests.support.inbox import change_event, the_event
from tests.support.operating import KIM, audited, dead, put, rows
from tests.support.services import running_services


@pytest.fixture
def services(make_settings: Callable[..., Settings], database_url: str) -> Iterator[Services]:
    with running_services(make_settings(database_url=database_url)) as running:
        yield running


def ago(**time: float) -> datetime:
    return datetime.now(UTC) - timedelta(**time)


def row(services: Services, event_id: str) -> Any:
    with services.sessions() as session:
        return the_event(session, event_id)


def test_a_dead_letter_is_due_again_as_if_it_had_just_come_in(services: Services) -> None:
    """on_call.requeue."""
    event_id = dead(services, received_at=ago(days=3))
    plan = repairing.plan_requeue(services, [event_id])
    assert plan.ids == (event_id,)
    assert row(services, event_id).state == "dead", "a plan writes nothing"

    done = repairing.requeue(services, plan.ids, KIM)
    assert done.ids == (event_id,)
    again = row(services, event_id)
    assert (again.state, again.attempts, again.error_class) == ("pending", 0, None)
    assert again.due_at <= datetime.now(UTC)
    assert again.finished_at is None
    assert again.reason == "requeued by cli:kim: the cause is gone"
    assert [(each["ended"], each["line"]) for each in again.tries] == [
        ("requeued", "by cli:kim: the cause is gone; was dead: boom")
    ]
    entry = audited(services, "event.requeued")[0]
    assert (entry.actor, entry.subject, entry.because) == ("cli:kim", event_id, KIM.because)
    assert entry.before == {"state": "dead", "attempts": 12, "line": "boom"}


def test_an_old_letter_that_is_requeued_does_not_make_the_receiver_look_unready(
    services: Services,
) -> None:
    event_id = dead(services, received_at=ago(days=3))
    repairing.requeue(services, [event_id], KIM)
    with services.sessions() as session:
        found = inbox.backlog(session.connection(), hint_lease_s=20)
    assert found.oldest_age_s is not None
    assert found.oldest_age_s < 60


def test_a_filter_takes_what_matches_in_the_order_it_came(services: Services) -> None:
    late = dead(services, received_at=ago(hours=1), work_key="sub:sub_1")
    early = dead(services, received_at=ago(hours=2), work_key="sub:sub_2")
    dead(services, "Other@work.settle", work_key="sub:sub_3")
    put(services, work_key="sub:sub_4")
    boom = Filters(state="dead", fingerprint="Boom@work.settle")
    plan = repairing.plan_requeue(services, boom)
    assert plan.ids == (early, late)
    assert [each.id for each in plan.examples] == [early, late]
    assert repairing.plan_requeue(services, Filters(state="dead", since=ago(hours=1.5))).ids[0] == (
        late
    )


def test_the_rate_is_kept_by_dating_them_apart(services: Services) -> None:
    ids = [dead(services, work_key=f"sub:sub_{n}", received_at=ago(hours=9 - n)) for n in range(5)]
    repairing.requeue(services, ids, KIM, per_second=2)
    due = [row(services, each).due_at for each in ids]
    gaps = [(later - due[0]).total_seconds() for later in due]
    assert gaps == pytest.approx([0, 0.5, 1, 1.5, 2], abs=0.2)


def test_what_is_finished_or_waits_on_purpose_is_left_alone(services: Services) -> None:
    done = put(services, state="done", outcome="kept")
    waits = put(services, due_at=datetime.now(UTC) + timedelta(days=20))
    failing = put(services, error_class="retry", due_at=datetime.now(UTC) + timedelta(hours=1))
    plan = repairing.plan_requeue(services, [done, waits, failing, "evt_nobody"])
    assert plan.ids == (failing,)
    assert set(plan.refused) == {done, waits, "evt_nobody"}
    forced = repairing.plan_requeue(services, [done], force=True)
    assert forced.ids == (done,)


@pytest.mark.parametrize("asked", [waiting.ACTIVATE, renewals.LOWER, renewals.APPROVED])
def test_what_was_asked_once_is_not_asked_again_by_force(services: Services, asked: str) -> None:
    """A seat bought for who waited then, a lowering of a past renewal: a rerun would do it anew."""
    event_id = put(services, kind="request", source="request", type=asked, state="done")
    plan = repairing.plan_requeue(services, [event_id], force=True)
    assert not plan.ids
    assert "is done once" in plan.refused[event_id]


def test_what_was_ignored_is_read_again_by_todays_settings(services: Services) -> None:
    """Nothing vanishes: an event of the wrong account is replayed once the account is right."""
    body = orjson.dumps(
        stripe_events.snapshot(
            "customer.subscription.updated", stripe_events.subscription(), account="acct_new"
        )
    )
    before = read_event(body, Ours.of(services.settings), source="webhook")
    assert before.state == "ignored"
    with services.sessions.begin() as session:
        inbox.accept(session.connection(), [before])
    refused = repairing.plan_requeue(services, [before.id])
    assert "wrong account" in refused.refused[before.id]

    right = services.settings.model_copy(update={"stripe_account_id": "acct_new"})
    with running_services(right) as mended:
        done = repairing.requeue(mended, [before.id], KIM)
    assert done.ids == (before.id,)
    again = row(services, before.id)
    assert (again.state, again.work_key) == ("pending", "sub:sub_1")


def test_discarding_is_reversible_and_on_record(services: Services) -> None:
    event_id = dead(services)
    plan = repairing.plan_discard(services, Filters(state="dead"))
    repairing.discard(services, plan.ids, KIM)
    aside = row(services, event_id)
    assert (aside.state, aside.outcome) == (
        "discarded",
        "discarded by cli:kim: the cause is gone",
    )
    assert audited(services, "event.discarded")[0].before["line"] == "boom"
    repairing.requeue(services, [event_id], KIM)
    assert row(services, event_id).state == "pending"


def test_a_worker_does_not_write_over_a_discarded_row(services: Services) -> None:
    event_id = put(services)

    def settle(*_: object) -> Any:
        repairing.discard(services, [event_id], KIM)
        raise RuntimeError("boom")

    work_off(services, "sub:sub_1", settle)
    assert row(services, event_id).state == "discarded"


def test_following_says_how_each_ended(services: Services) -> None:
    """on_call.requeue."""
    fine, broken = dead(services, work_key="sub:sub_1"), dead(services, work_key="sub:sub_2")
    with_it = dead(services, work_key="sub:sub_1", received_at=ago(hours=1))
    repairing.requeue(services, [with_it, fine, broken], KIM)

    def settle(_services: object, key: str, _batch: object) -> Any:
        if key == "sub:sub_2":
            raise RuntimeError("boom again")
        return Settled(line="kept")

    for key in ("sub:sub_1", "sub:sub_2"):
        work_off(services, key, settle)
    ended = repairing.follow(services, [with_it, fine, broken], timeout_s=5)
    assert [(each.id, each.state) for each in ended] == [
        (with_it, "done"),
        (fine, "done"),
        (broken, "dead"),
    ]
    assert "boom again" in ended[2].line
    assert not ended[2].well
    assert repairing.tally(ended) == {"dead": 1, "done": 2}


def test_what_has_not_ended_in_time_says_so(services: Services) -> None:
    event_id = dead(services)
    repairing.requeue(services, [event_id], KIM)
    ended = repairing.follow(services, [event_id], timeout_s=0.3)
    assert [(each.state, each.well) for each in ended] == [("pending", False)]


def test_tries_tell_what_happened_and_are_bounded(services: Services) -> None:
    event_id = put(services)

    def settle(*_: object) -> Any:
        raise ConnectionError("no way through")

    for _ in range(25):
        with services.sessions.begin() as session:
            change_event(session, event_id, due_at=ago(seconds=1), attempts=1)
        work_off(services, "sub:sub_1", settle)
    tries = row(services, event_id).tries
    assert len(tries) == 20
    assert tries[-1]["ended"] == "retry"
    assert "no way through" in tries[-1]["line"]


def test_nothing_that_a_pause_holds_is_requeued_past_it(services: Services) -> None:
    pausing.pause(services, TYPE, "customer.subscription.updated", KIM)
    event_id = put(services)
    work_off(services, "sub:sub_1")
    plan = repairing.plan_requeue(services, [event_id])
    assert "resume that" in plan.refused[event_id]
    assert rows(services)[event_id].state == "pending"
