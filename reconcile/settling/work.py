"""Works off what is due for one work key: claim, settle, record. Law 5 and Law 7 live here.

The lock on the key says that its worker is alive, the lease on the rows only when to look again: a
worker killed at any line leaves rows that come due by themselves, and no row is handled twice at
the same time. What a trigger means is not decided here but in `settle`.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from random import Random

import structlog

from reconcile import log, metrics, tracing
from reconcile.adjustments import contract
from reconcile.adjustments.renewals import hour_to_come
from reconcile.crash_points import CrashPoint, crash_point
from reconcile.database import exclusive
from reconcile.errors import (
    Busy,
    Classified,
    ErrorClass,
    JobOverdue,
    Paused,
    ShuttingDown,
    classify,
    retry_delay,
)
from reconcile.members.buying import finish_waiting
from reconcile.outward import delivery, reviews
from reconcile.outward.told import Told
from reconcile.seeing import Snapshot, snapshot_of
from reconcile.services import Services
from reconcile.settling.checkouts import close_page
from reconcile.settling.course import Settled
from reconcile.settling.organizations import (
    members_named,
    settle_customer,
    settle_organization,
)
from reconcile.settling.settle import settle_subscription
from reconcile.store import checkouts, pauses
from reconcile.store import work as store
from reconcile.store.renewals import PLANNED
from reconcile.store.work import ClaimedEvent

# Events that came in while the batch was worked off are taken in the same go, this many times.
MOST_ROUNDS = 5

# While another worker holds the key, its new events are looked at this often.
BUSY_AGAIN = timedelta(milliseconds=250)


class Ended(StrEnum):
    """How the work on a key ended; a closed list, it is a metric's label."""

    NOTHING_DUE = "nothing_due"
    BUSY = "busy"
    DONE = "done"
    IGNORED = "ignored"
    POSTPONED = "postponed"
    PAUSED = "paused"
    RETRY = "retry"
    WAITING = "waiting"
    RATE_LIMITED = "rate_limited"
    DEAD = "dead"
    GIVEN_BACK = "given_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkReport:
    """How it ended, in one line for a person. `event_id` names the row that tells it, if any."""

    work_key: str
    ended: Ended
    line: str
    event_id: str | None = None
    events: int = 0
    again_at: datetime | None = None


Settle = Callable[[Services, str, list[ClaimedEvent]], Settled]


def settle_key(services: Services, work_key: str, batch: list[ClaimedEvent]) -> Settled:
    """Do the work that the key names; the batch's newest event is the trigger."""
    scope, _, named = work_key.partition(":")
    if scope not in _WORK:
        raise ValueError(f"no such scope of work: {scope}")
    return _WORK[scope](services, named, batch)


def _subscription(services: Services, named: str, batch: list[ClaimedEvent]) -> Settled:
    snapshot = _newest_snapshot(services, batch)
    settled = settle_subscription(services, named, trigger=batch[0].id, snapshot=snapshot)
    if settled.again_at is not None or not any(event.type in PLANNED for event in batch):
        return settled
    planned_at = hour_to_come(services, named)
    if planned_at is None:
        contract.end_unmade(services, named, settled.line)
    return replace(settled, planned_at=planned_at)


def _organization(services: Services, named: str, batch: list[ClaimedEvent]) -> Settled:
    finish_waiting(services, named)
    with services.sessions() as session:
        members = members_named(session, batch)
    return settle_organization(services, named, trigger=batch[0].id, members=members)


def _customer(services: Services, named: str, batch: list[ClaimedEvent]) -> Settled:
    return settle_customer(services, named, trigger=batch[0].id)


def _notice(services: Services, named: str, _batch: list[ClaimedEvent]) -> Settled:
    return _settled(delivery.deliver(services, named))


def _review(services: Services, named: str, _batch: list[ClaimedEvent]) -> Settled:
    return _settled(reviews.tick(services, int(named)))


def _settled(told: Told) -> Settled:
    return Settled(line=told.line, again_at=told.again_at, ignored=told.ignored)


# What a work key may name, and what is done then.
_WORK: Mapping[str, Settle] = {
    "sub": _subscription,
    "org": _organization,
    "cus": _customer,
    "notice": _notice,
    "review": _review,
    checkouts.SCOPE: close_page,
}
SCOPES = tuple(_WORK)


def work_off(services: Services, work_key: str, settle: Settle = settle_key) -> WorkReport:
    """Work off everything due for the key and report how it ended; the rows say the same.

    Raises nothing but what keeps the outcome from being recorded (the database is away): the rows
    come due again then. Another worker on the key: nothing is touched, `ended` is busy.
    """
    started_at = time.monotonic()
    with (
        log.about(work_key=work_key),
        exclusive(services.engine, work_key) as mine,
    ):
        report = _in_rounds(services, work_key, settle) if mine else _busy(services, work_key)
    scope = work_key.partition(":")[0]
    scope = scope if scope in SCOPES else "other"  # a hint may say anything, a label may not
    metrics.WORKED_OFF.labels(scope=scope, ended=report.ended).inc()
    metrics.WORK_SECONDS.labels(scope=scope).observe(time.monotonic() - started_at)
    return report


def _busy(services: Services, work_key: str) -> WorkReport:
    with services.sessions.begin() as session:
        store.look_again(session, work_key, within=BUSY_AGAIN)
    return WorkReport(work_key=work_key, ended=Ended.BUSY, line="another worker has it")


def _in_rounds(services: Services, work_key: str, settle: Settle) -> WorkReport:
    report = WorkReport(work_key=work_key, ended=Ended.NOTHING_DUE, line="nothing is due")
    lease = timedelta(seconds=services.settings.hint_lease_s)
    for _ in range(MOST_ROUNDS):
        with services.sessions.begin() as session:
            held = pauses.hold(session, work_key, lease=lease)
            batch = store.claim(session, work_key, lease=lease)
        if not batch:
            return _held(work_key, held) if held and report.ended is Ended.NOTHING_DUE else report
        crash_point(CrashPoint.AFTER_CLAIM)
        with log.about(event_id=batch[0].id), _span(work_key, batch):
            report = _one_batch(services, work_key, batch, settle)
            tracing.tell(ended=report.ended, line=report.line)
            _tell(report, batch[0])
        if report.ended is not Ended.DONE:
            return report
    return report


def _held(work_key: str, held: int) -> WorkReport:
    return WorkReport(
        work_key=work_key, ended=Ended.PAUSED, line=f"{held} held by a pause", events=held
    )


def _one_batch(
    services: Services, work_key: str, batch: list[ClaimedEvent], settle: Settle
) -> WorkReport:
    if _killed_its_workers(services, batch[0]):
        # Nobody could write down what happened, each time.
        error = Classified(
            ErrorClass.PERMANENT, "WorkerDied", "every worker that took it died on it"
        )
        return _failed(services, work_key, batch, error)
    try:
        settled = settle(services, work_key, batch)
    except (Exception, JobOverdue, ShuttingDown) as raised:  # noqa: BLE001 - whatever it is
        return _not_settled(services, work_key, batch, raised)
    crash_point(CrashPoint.BEFORE_FINISH)
    with services.sessions.begin() as session:
        if settled.ignored:
            store.ignore(session, batch, reason=settled.line)
            return _report(work_key, batch, Ended.IGNORED, settled.line)
        if settled.again_at is not None:
            store.postpone(session, batch, until=settled.again_at, reason=settled.line)
            return _report(work_key, batch, Ended.POSTPONED, settled.line, settled.again_at)
        done = batch
        if settled.planned_at is not None:
            # No other row says what is planned: requeued, or taken by a clock that is ahead, it
            # waits for its hour again. What came along with it is done.
            early = [event for event in batch if event.type in PLANNED]
            done = [event for event in batch if event not in early]
            store.postpone(session, early, until=settled.planned_at, reason=settled.line)
        if not done:
            return _report(work_key, batch, Ended.POSTPONED, settled.line, settled.planned_at)
        store.finish(session, done, outcome=settled.line, decided=settled.decided)
    return _report(work_key, done, Ended.DONE, settled.line)


def _not_settled(
    services: Services, work_key: str, batch: list[ClaimedEvent], raised: BaseException
) -> WorkReport:
    match raised:
        case ShuttingDown():
            with services.sessions.begin() as session:
                store.give_back(session, batch)
            return _report(work_key, batch, Ended.GIVEN_BACK, str(raised))
        case Paused():
            return _paused(services, work_key, batch, raised)
        case Busy():
            return _held_elsewhere(services, work_key, batch, raised)
    error = classify(raised)
    if error.error_class is ErrorClass.PERMANENT:
        structlog.get_logger().error("dead letter", line=error.line, exc_info=raised)
    return _failed(services, work_key, batch, error)


def _paused(
    services: Services, work_key: str, batch: list[ClaimedEvent], paused: Paused
) -> WorkReport:
    """Hold the batch until the pause ends; it may have ended a moment ago."""
    with services.sessions.begin() as session:
        stands = pauses.still_stands(session, paused.pause_id)
        until = services.clock() + (pauses.LOOK_AGAIN if stands else timedelta())
        store.postpone(
            session,
            batch,
            until=until,
            reason=paused.detail,
            held_by=paused.pause_id if stands else None,
        )
    return _report(work_key, batch, Ended.PAUSED, paused.detail, until)


def _held_elsewhere(
    services: Services, work_key: str, batch: list[ClaimedEvent], busy: Busy
) -> WorkReport:
    """Look again soon. Nothing failed: counting it as a try would wait longer each time."""
    until = services.clock() + BUSY_AGAIN
    with services.sessions.begin() as session:
        store.postpone(session, batch, until=until, reason=str(busy))
    return _report(work_key, batch, Ended.BUSY, str(busy), until)


def _failed(
    services: Services, work_key: str, batch: list[ClaimedEvent], error: Classified
) -> WorkReport:
    delay = _delay(services, batch[0], error)
    with services.sessions.begin() as session:
        if delay is None:
            store.bury(session, batch, error=error)
            metrics.DEAD_LETTERS.labels(error_class=error.error_class).inc()
            return _report(work_key, batch, Ended.DEAD, error.line)
        store.retry(
            session,
            batch,
            error=error,
            delay=delay,
            counted=error.error_class is not ErrorClass.RATE_LIMITED,
        )
    again_at = services.clock() + delay
    return _report(work_key, batch, Ended(error.error_class), error.line, again_at)


def _delay(services: Services, newest: ClaimedEvent, error: Classified) -> timedelta | None:
    random = Random()  # noqa: S311 - it only spreads the tries
    if error.error_class is ErrorClass.RATE_LIMITED:
        # Not the event's fault, so not one of its tries; up to twice as long spreads the crowd.
        return timedelta(seconds=(error.retry_after_s or 1.0) * (1 + random.random()))
    delay = retry_delay(
        newest.attempts,
        services.settings,
        random,
        error_class=error.error_class,
        waited=newest.waited,
    )
    if delay is None or error.retry_after_s is None:
        return delay
    return max(delay, timedelta(seconds=error.retry_after_s))


def _killed_its_workers(services: Services, newest: ClaimedEvent) -> bool:
    """A try that ended is counted and written down; one more than all of them was not."""
    before = newest.attempts - 1
    return before > 0 and (
        retry_delay(before, services.settings, Random(0), waited=newest.waited) is None  # noqa: S311 - delays
    )


def _newest_snapshot(services: Services, batch: list[ClaimedEvent]) -> Snapshot | None:
    """Return the snapshot that is the batch's last word, or None: then Stripe is asked.

    It is not when a later event says that something happened without showing it, or when two are
    of the same second: Stripe's times do not tell which was first (Law 4).
    """
    newest, earlier = batch[0], batch[1:2]
    if newest.kind != "snapshot" or not newest.type.startswith("customer.subscription."):
        return None
    if any(event.stripe_created_at == newest.stripe_created_at for event in earlier):
        return None
    with services.sessions() as session:
        body = store.payload_of(session, newest.id)
    return snapshot_of(body, newest.api_version, newest.stripe_created_at)


def _report(
    work_key: str,
    batch: list[ClaimedEvent],
    ended: Ended,
    line: str,
    again_at: datetime | None = None,
) -> WorkReport:
    return WorkReport(
        work_key=work_key,
        ended=ended,
        line=line,
        event_id=batch[0].id,
        events=len(batch),
        again_at=again_at,
    )


def _span(work_key: str, batch: list[ClaimedEvent]) -> AbstractContextManager[object]:
    """Go on with the trace of the newest event's receipt; those of the others are linked."""
    newest, others = batch[0], batch[1:]
    return tracing.span(
        "work off",
        parent=newest.traceparent,
        links=[each.traceparent for each in others],
        work_key=work_key,
        event_id=newest.id,
        type=newest.type,
        attempt=newest.attempts,
    )


def _tell(report: WorkReport, newest: ClaimedEvent) -> None:
    structlog.get_logger().info(
        "worked off",
        ended=str(report.ended),
        line=report.line,
        type=newest.type,
        events=report.events,
        attempt=newest.attempts,
        again_at=report.again_at.isoformat() if report.again_at else None,
    )
