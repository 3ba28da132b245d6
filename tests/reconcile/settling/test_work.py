"""What becomes of the work on one key, for each way that settling it can end (Laws 5 and 7)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import generate_latest

from reconcile.database import exclusive
from reconcile.errors import (
    WAITING_EXTRA_ATTEMPTS,
    Busy,
    JobOverdue,
    RateLimited,
    ShuttingDown,
    StripeRejected,
    StripeUnavailable,
    WaitingForRow,
)
from reconcile.services import Services
from reconcile.settings import STRIPE_API_VERSION, Settings
from reconcile.settling.course import Settled
from reconcile.settling.work import MOST_ROUNDS, Ended, settle_key, work_off
from reconcile.store.work import TRIES_KEPT, ClaimedEvent
from tests.support.inbox import an_event, change_event, the_event
from tests.support.services import running_services

KEY = "sub:sub_1"


@pytest.fixture
def services(make_settings: Callable[..., Settings], database_url: str) -> Iterator[Services]:
    with running_services(make_settings(database_url=database_url)) as running:
        yield running


@dataclass
class Settling:
    """Settles in the way it is told, and remembers what it was given."""

    ending: Settled | BaseException = field(default_factory=lambda: Settled(line="kept"))
    meanwhile: Callable[[], object] = lambda: None
    batches: list[list[str]] = field(default_factory=list)

    def __call__(self, services: Services, key: str, batch: list[ClaimedEvent]) -> Settled:
        self.batches.append([event.id for event in batch])
        self.meanwhile()
        if isinstance(self.ending, BaseException):
            raise self.ending
        return self.ending


def put(services: Services, **values: Any) -> str:
    with services.sessions.begin() as session:
        return an_event(session, **values)


def row(services: Services, event_id: str) -> Any:
    with services.sessions() as session:
        return the_event(session, event_id)


def seconds_until_due(services: Services, event_id: str) -> float:
    due_in: timedelta = row(services, event_id).due_at - datetime.now(UTC)
    return due_in.total_seconds()


def test_a_burst_is_settled_once(services: Services) -> None:
    """money.one_in_flight."""
    now = datetime.now(UTC)
    burst = [put(services, stripe_created_at=now + timedelta(seconds=n)) for n in range(4)]
    settling = Settling(Settled(line="raised Voice 5 to 6"))
    report = work_off(services, KEY, settling)
    assert settling.batches == [burst[::-1]]
    assert (report.ended, report.line, report.event_id) == (
        Ended.DONE,
        "raised Voice 5 to 6",
        burst[-1],
    )
    assert row(services, burst[-1]).outcome == "raised Voice 5 to 6"
    assert {row(services, each).superseded_by for each in burst[:-1]} == {burst[-1]}


def test_nothing_due_is_nothing_done(services: Services) -> None:
    settling = Settling()
    assert work_off(services, KEY, settling).ended is Ended.NOTHING_DUE
    assert settling.batches == []


def test_while_another_has_the_key_nothing_is_touched(services: Services) -> None:
    event_id = put(services, due_at=datetime.now(UTC) + timedelta(seconds=15))
    settling = Settling()
    with exclusive(services.engine, KEY):
        assert work_off(services, KEY, settling).ended is Ended.BUSY
    assert settling.batches == []
    assert row(services, event_id).attempts == 0
    assert seconds_until_due(services, event_id) < 2


def test_what_another_holds_is_looked_at_again_soon_and_is_no_try(services: Services) -> None:
    """After nine tries, a tenth that only met another process must not wait for an hour."""
    event_id = put(services, attempts=9, error_class="retry")
    report = work_off(services, KEY, Settling(Busy("sub_2")))
    assert (report.ended, report.line) == (Ended.BUSY, "Another process is at it: sub_2")
    assert (row(services, event_id).state, row(services, event_id).attempts) == ("pending", 9)
    assert row(services, event_id).error_class is None
    assert seconds_until_due(services, event_id) < 2


def test_what_arrives_meanwhile_is_settled_in_the_same_go(services: Services) -> None:
    first = put(services)
    settling = Settling()
    late: list[str] = []
    settling.meanwhile = lambda: None if late else late.append(put(services))
    assert work_off(services, KEY, settling).ended is Ended.DONE
    assert settling.batches == [[first], late]


def test_a_key_that_never_falls_silent_does_not_hold_a_worker_for_ever(
    services: Services,
) -> None:
    put(services)
    settling = Settling()
    settling.meanwhile = lambda: put(services)
    work_off(services, KEY, settling)
    assert len(settling.batches) == MOST_ROUNDS


def test_waiting_leaves_the_newest_pending_and_uncounted(services: Services) -> None:
    until = datetime.now(UTC) + timedelta(minutes=3)
    old = put(services, stripe_created_at=datetime.now(UTC) - timedelta(minutes=1))
    new = put(services)
    report = work_off(services, KEY, Settling(Settled(line="in flight", again_at=until)))
    assert (report.ended, report.again_at) == (Ended.POSTPONED, until)
    told = row(services, new)
    assert (told.state, told.due_at, told.reason, told.attempts) == (
        "pending",
        until,
        "in flight",
        0,
    )
    assert row(services, old).superseded_by == new


ENDINGS = [
    (StripeUnavailable("no answer"), Ended.RETRY, 1, (1, 2)),
    (JobOverdue(), Ended.RETRY, 1, (1, 2)),
    (WaitingForRow("organization org_1"), Ended.WAITING, 1, (1, 2)),
    (RateLimited("429", retry_after_s=30), Ended.RATE_LIMITED, 0, (30, 60)),
]


@pytest.mark.parametrize(
    ("error", "ended", "attempts", "due_in_s"), ENDINGS, ids=lambda value: type(value).__name__
)
def test_what_may_pass_is_tried_again(
    services: Services,
    error: BaseException,
    ended: Ended,
    attempts: int,
    due_in_s: tuple[float, float],
) -> None:
    event_id = put(services)
    report = work_off(services, KEY, Settling(error))
    told = row(services, event_id)
    assert report.ended is ended
    assert (told.state, told.error_class, told.attempts) == ("pending", str(ended), attempts)
    assert told.reason == report.line
    earliest, latest = due_in_s
    assert earliest - 2 <= seconds_until_due(services, event_id) <= latest


@pytest.mark.parametrize("error", [StripeRejected("no such price"), KeyError("items")])
def test_what_would_fail_again_is_a_dead_letter_at_once(
    services: Services, error: Exception
) -> None:
    event_id = put(services)
    assert work_off(services, KEY, Settling(error)).ended is Ended.DEAD
    told = row(services, event_id)
    assert (told.state, told.attempts, told.error_class) == ("dead", 1, "permanent")
    assert told.error_fingerprint.startswith(type(error).__name__)
    assert told.finished_at


def test_the_last_try_makes_a_dead_letter(services: Services) -> None:
    most = services.settings.retry_max_attempts
    event_id = put(services, attempts=most - 1, error_class="retry")
    assert work_off(services, KEY, Settling(StripeUnavailable())).ended is Ended.DEAD
    assert row(services, event_id).state == "dead"


def test_what_waited_for_others_is_not_given_up_at_the_next_thing_that_passes(
    services: Services,
) -> None:
    """Its tries were used up by waiting; an hour without Stripe must not make it a dead letter."""
    most = services.settings.retry_max_attempts
    event_id = put(services)
    work_off(services, KEY, Settling(WaitingForRow("organization org_1")))
    for tried in (most + 5, most + 40):
        with services.sessions.begin() as session:
            change_event(session, event_id, due_at=datetime.now(UTC), attempts=tried)
        assert work_off(services, KEY, Settling(StripeUnavailable())).ended is Ended.RETRY
    with services.sessions.begin() as session:
        last = most + WAITING_EXTRA_ATTEMPTS - 1
        change_event(session, event_id, due_at=datetime.now(UTC), attempts=last)
    assert work_off(services, KEY, Settling(StripeUnavailable())).ended is Ended.DEAD


@pytest.mark.parametrize(
    ("ending", "ended"),
    [
        (lambda turn: Settled(line=f"held {turn}", again_at=datetime.now(UTC)), Ended.POSTPONED),
        (lambda turn: RateLimited(f"429 of {turn}"), Ended.RATE_LIMITED),
    ],
)
def test_what_waited_has_still_waited_after_many_tries_that_do_not_count(
    services: Services, ending: Callable[[int], Settled | RateLimited], ended: Ended
) -> None:
    """A notice's host is away, and other notices are on their way, in turns; or Stripe is busy."""
    most = services.settings.retry_max_attempts
    event_id = put(services)
    work_off(services, KEY, Settling(WaitingForRow("the host")))
    for turn in range(TRIES_KEPT + 2):
        with services.sessions.begin() as session:
            change_event(session, event_id, due_at=datetime.now(UTC), attempts=most + 1)
        assert work_off(services, KEY, Settling(ending(turn % 2))).ended is ended
    assert len(row(services, event_id).tries) == 3
    with services.sessions.begin() as session:
        change_event(session, event_id, due_at=datetime.now(UTC))
    assert work_off(services, KEY, Settling(StripeUnavailable())).ended is Ended.RETRY


def test_a_later_success_clears_what_went_wrong(services: Services) -> None:
    event_id = put(services)
    work_off(services, KEY, Settling(StripeUnavailable("no answer")))
    with services.sessions.begin() as session:
        change_event(session, event_id, due_at=datetime.now(UTC))
    assert work_off(services, KEY, Settling()).ended is Ended.DONE
    told = row(services, event_id)
    assert (told.state, told.reason, told.error_class, told.attempts) == ("done", None, None, 2)


def test_a_new_event_does_the_work_of_one_that_failed(services: Services) -> None:
    failed = put(services, stripe_created_at=datetime.now(UTC) - timedelta(minutes=1))
    work_off(services, KEY, Settling(StripeUnavailable()))
    new = put(services)
    assert work_off(services, KEY, Settling()).ended is Ended.DONE
    assert row(services, failed).superseded_by == new


def test_a_worker_that_stops_gives_everything_back(services: Services) -> None:
    given = [put(services), put(services)]
    assert work_off(services, KEY, Settling(ShuttingDown())).ended is Ended.GIVEN_BACK
    for event_id in given:
        told = row(services, event_id)
        assert (told.state, told.attempts) == ("pending", 0)
        assert seconds_until_due(services, event_id) <= 0


def test_one_line_says_how_it_ended(services: Services, logs: list[Any]) -> None:
    put(services)
    work_off(services, KEY, Settling(Settled(line="kept: 5 of 5 Voice seats")))
    (line,) = [entry for entry in logs if entry["event"] == "worked off"]
    assert (line["ended"], line["line"]) == ("done", "kept: 5 of 5 Voice seats")


SUBSCRIPTION = b'{"id":"sub_1","object":"subscription"}'


def body_of(created: int) -> bytes:
    return b'{"created":%d,"data":{"object":%s}}' % (created, SUBSCRIPTION)


@pytest.mark.parametrize(
    ("newest", "earlier", "believed"),
    [
        ({}, None, True),
        ({"kind": "thin"}, None, False),
        ({"type": "invoice.paid"}, None, False),
        ({}, {"stripe_created_at": timedelta(seconds=-5)}, True),
        ({}, {"stripe_created_at": timedelta(0)}, False),
    ],
    ids=["alone", "thin", "of an invoice", "later than another", "of the same second"],
)
def test_only_the_last_word_of_a_batch_may_be_believed(
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    newest: dict[str, Any],
    earlier: dict[str, Any] | None,
    believed: bool,
) -> None:
    """Law 4. What settling then makes of it is not this test's."""
    at = datetime.now(UTC).replace(microsecond=0)
    given: list[object] = []

    def settle(*_: object, snapshot: object, trigger: str) -> Settled:
        given.append(snapshot)
        return Settled(line="kept")

    monkeypatch.setattr("reconcile.settling.work.snapshot_of", lambda body, *_: body)
    monkeypatch.setattr("reconcile.settling.work.settle_subscription", settle)
    values = {"api_version": STRIPE_API_VERSION, "payload": body_of(1), "stripe_created_at": at}
    put(services, **values | newest)
    if earlier:
        put(services, **values | {"stripe_created_at": at + earlier["stripe_created_at"]})
    work_off(services, KEY, settle_key)
    assert given == ([body_of(1)] if believed else [None])


def test_a_scope_nobody_knows_is_a_dead_letter(services: Services) -> None:
    event_id = put(services, work_key="moon:1")
    assert work_off(services, "moon:1").ended is Ended.DEAD
    assert "moon" in row(services, event_id).reason


def test_no_hint_makes_a_label_of_its_own(services: Services) -> None:
    work_off(services, "moon-17:1")
    assert "moon-17" not in generate_latest().decode()
    assert (
        'trueup_worked_off_total{ended="nothing_due",scope="other"}' in generate_latest().decode()
    )
