"""One screen: how everything stands, and for each thing that is not well what to do next.

The database is asked here; what only the queue's server and the receiver know comes as plain values
from whoever asks (`backoffice`). Either may be away: the screen says so and shows the rest.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from shlex import quote
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.orm import Session

from reconcile.operating.screen import Part, ago, alive, counted, span, up_to
from reconcile.operating.status_nights import night_parts
from reconcile.policy.values import CLOSED_BY_HAND, FindingKind
from reconcile.services import Services
from reconcile.settings import Settings
from reconcile.store import gauges, inbox, look, notices, pauses, standing
from reconcile.store.gauges import Gauges
from reconcile.store.look import Filters

# An adjustment is called and recorded in seconds; one that takes longer is worth a look.
LONG_IN_FLIGHT = timedelta(minutes=10)
# A row is hinted within a poll of the relay; this long, none is at work.
RELAY_LATE = timedelta(seconds=15)
# Whom the door refused this lately, with no delivery since, may be Stripe.
REFUSED_LATELY = timedelta(hours=1)
# A door that let something in this lately is there, whether or not it can say so.
DELIVERED_LATELY = timedelta(minutes=1)
# What says more about a mistake than one of its events does. When the cause is gone, one command
# tries all of it again, and finds out what became of adjustments in flight.
_CURES = dict.fromkeys(("StripeKeyRefused", "StripeUnavailable", "OutcomeUnknown"), "trueup doctor")
CATCH_UP = 'trueup catch-up --because "..."'


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """How many webhooks the door refused in one way, and over which time."""

    count: int
    since: datetime
    last: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSeen:
    """What the queue's server says: hints waiting, who works, what is left of Stripe's budget.

    Of the processes of receivers, relays and schedules that are alive: how many seconds ago each
    was heard of. `refused` is what the receivers say they refused lately, by outcome.
    """

    waiting: int
    workers: int
    busy: int
    receivers: tuple[float, ...]
    relays: tuple[float, ...]
    schedules: tuple[float, ...]
    refused: Mapping[str, Refused]
    budget_left: int
    budget_per_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The whole screen, in the order a person reads it."""

    at: datetime
    parts: tuple[Part, ...]

    @property
    def well(self) -> bool:
        """Whether nothing is to be done."""
        return all(part.well for part in self.parts)


def look_around(services: Services, queue: QueueSeen | str, receiver: Part | None = None) -> Status:
    """Return how things stand. `queue` is what was seen, or why it was not.

    Raises the database's errors: then `without_database` has the rest.
    """
    now = services.clock()
    with services.sessions() as session:
        figures = gauges.read(session.connection(), hint_lease_s=services.settings.hint_lease_s)
        parts = [
            *_pauses(session),
            Part(name="database", well=True, line="answers"),
            *_queue(queue),
            _receiver(session, queue, receiver, now),
            _relay(session, queue, now),
            *_inbox(session, services.settings, figures, now),
            _dead(session),
            _adjustments(figures),
            _notices(session, services.settings),
            _findings(session, figures),
            *_schedule(queue),
            *night_parts(session, services, now),
        ]
    return Status(at=now, parts=tuple(parts))


def without_database(
    services: Services, queue: QueueSeen | str, receiver: Part | None, error: str
) -> Status:
    """Return what can be said while the database is away."""
    away = Part(
        name="database",
        well=False,
        line=f"does not answer: {error}",
        do=("bring it back; Stripe repeats its events for three days, then run trueup catch-up",),
    )
    rest = [receiver] if receiver else []
    return Status(at=services.clock(), parts=(away, *_queue(queue), *rest))


def _pauses(session: Session) -> Iterator[Part]:
    found = pauses.standing(session)
    held = pauses.held_rows(session, [each.id for each in found])
    for each in found:
        what = f"{each.scope} {each.value}".strip()
        since = each.paused_at.astimezone(UTC).strftime("%Y-%m-%d %H:%MZ")
        yield Part(
            name="PAUSED",
            well=False,
            line=f"{what} by {each.paused_by}: {each.because}, since {since}, "
            f"{held.get(each.id, 0)} held",
            do=(f'trueup resume {what} --because "..."',),
            facts={"scope": each.scope, "value": each.value, "held": held.get(each.id, 0)},
        )


def _queue(queue: QueueSeen | str) -> Iterator[Part]:
    if isinstance(queue, str):
        yield Part(
            name="queue",
            well=False,
            line=f"does not answer: {queue}",
            do=("bring it back; nothing is lost, the relay hints again whatever is due",),
        )
        return
    yield Part(
        name="queue",
        well=True,
        line=f"answers, {queue.waiting} hints wait",
        facts={"waiting": queue.waiting},
    )
    yield Part(
        name="workers",
        well=queue.workers > 0,
        line=f"{queue.workers} alive, {queue.busy} busy" if queue.workers else "none is alive",
        do=() if queue.workers else ("trueup worker",),
        facts={"alive": queue.workers, "busy": queue.busy},
    )
    yield Part(
        name="Stripe budget",
        well=True,
        line=f"{queue.budget_left} of {queue.budget_per_s} calls left in this second",
        facts={"left": queue.budget_left, "per_s": queue.budget_per_s},
    )


# The outcomes of refusals, as a person says them.
_REFUSALS = {
    "bad_signature": "with a bad signature",
    "too_large": "too large",
    "unavailable": "not stored",
    "error": "for an error",
}


_SPEECHLESS = "none says that it lives (an earlier release, or no way to the queue's server)"


def _receiver(session: Session, queue: QueueSeen | str, asked: Part | None, now: datetime) -> Part:
    """Return whether the door is there, and lets in what Stripe sends. `asked`: what it answered.

    Old refusals, and those that a delivery came after, are told and wake nobody: strangers knock.
    """
    last = standing.last_delivery(session)
    seen = queue if isinstance(queue, QueueSeen) else None
    lines, do = [asked.line] if asked else [], list(asked.do) if asked else []
    if seen and not asked:
        delivers = last is not None and now - last < DELIVERED_LATELY
        known = bool(seen.receivers) or not delivers
        lines.append(alive(seen.receivers, "processes ") if known else _SPEECHLESS)
        do += [] if seen.receivers or delivers else ["trueup receiver"]
    lines.append(
        f"Stripe last delivered {ago(now, last)}" if last else "Stripe never delivered anything"
    )
    refused = seen.refused if seen else {}
    if refused:
        newest = max(each.last for each in refused.values())
        first = ago(now, min(each.since for each in refused.values()))
        said = counted({_REFUSALS.get(name, name): each.count for name, each in refused.items()})
        lines.append(f"refused {said}, the first {first}, the last {ago(now, newest)}")
        shut_out = now - newest < REFUSED_LATELY and (last is None or newest > last)
        do += ["trueup doctor"] if shut_out else []
    facts = {
        "last_delivery": last,
        "alive": len(seen.receivers) if seen else None,
        "refused": {name: asdict(each) for name, each in refused.items()},
    }
    return Part(name="receiver", well=not do, line="; ".join(lines), do=tuple(do), facts=facts)


def _relay(session: Session, queue: QueueSeen | str, now: datetime) -> Part:
    since = standing.due_since(session)
    late = since is not None and now - since > RELAY_LATE
    heard = queue.relays if isinstance(queue, QueueSeen) else None
    line = "not known while the queue is away" if heard is None else alive(heard)
    if late:
        line += f"; something is due since {ago(now, since)} and was not hinted"
    well = not late and heard != ()
    return Part(
        name="relay",
        well=well,
        line=line,
        # With the queue away nothing can be hinted: another relay would do no better.
        do=() if well or heard is None else ("trueup relay",),
        facts={"alive": None if heard is None else len(heard), "due_since": since},
    )


def _inbox(session: Session, settings: Settings, found: Gauges, now: datetime) -> Iterator[Part]:
    oldest, age_s = found.oldest_unfinished, found.oldest_unfinished_s
    late = age_s is not None and age_s > settings.ready_max_event_age_s
    line = f"{up_to(inbox.COUNTED, found.unfinished)} unfinished"
    if age_s is not None:
        line += f"; {oldest} waits longest for a worker, {span(age_s)}"
    yield Part(
        name="inbox",
        well=not late,
        line=line,
        do=("trueup jobs list",) if late else (),
        facts={
            "unfinished": found.unfinished,
            "oldest_age_s": age_s,
            "oldest": oldest,
        },
    )
    failing = sum(found.failing.values())
    groups = look.error_groups(session, Filters(state="pending")) if failing else ()
    told = {name: up_to(inbox.COUNTED, count) for name, count in found.failing.items()}
    yield Part(
        name="retrying",
        well=not failing,
        line="; ".join((counted(told), *(each.fingerprint for each in groups[:3])))
        if failing
        else "nothing",
        do=_each_once(
            _CURES.get(_kind(each), "")
            or f"trueup events list --state pending --fingerprint {quote(each.fingerprint)}"
            for each in groups[:3]
        ),
        facts={"by_class": dict(found.failing), "groups": _groups(groups)},
    )
    lag = standing.lag(session, now=now)
    yield Part(
        name="lag",
        well=True,
        line=f"{lag.median_s:.1f} s in the middle, {lag.most_s:.1f} s at most, of {lag.events}"
        if lag
        else "nothing ended in the last hour",
        facts={"median_s": lag.median_s, "most_s": lag.most_s} if lag else {},
    )


def _dead(session: Session) -> Part:
    groups = look.error_groups(session, Filters(state="dead"))
    told = "; ".join(f"{each.count} x {each.fingerprint} ({each.line})" for each in groups[:5])
    return Part(
        name="dead letters",
        well=not groups,
        line=told or "none",
        do=_each_once(
            f"{_CURES[_kind(each)]}, then {CATCH_UP}"
            if _kind(each) in _CURES
            else f"trueup events show {each.example_id}, remove the cause, then trueup events "
            f'requeue --state dead --fingerprint {quote(each.fingerprint)} --because "..."'
            for each in groups[:5]
        ),
        facts={"groups": _groups(groups)},
    )


def _kind(group: look.ErrorGroup) -> str:
    return group.fingerprint.partition(":")[0]


def _each_once(steps: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(steps))


def _groups(groups: Sequence[look.ErrorGroup]) -> list[dict[str, Any]]:
    return [
        {
            "fingerprint": each.fingerprint,
            "count": each.count,
            "oldest_at": each.oldest_at,
            "example": each.example_id,
            "line": each.line,
        }
        for each in groups
    ]


def _adjustments(found: Gauges) -> Part:
    count, age_s = found.adjustments_in_flight, found.oldest_in_flight_s or 0.0
    long = age_s > LONG_IN_FLIGHT.total_seconds()
    return Part(
        name="adjustments",
        well=not long,
        line=f"{count} in flight" + (f", the oldest for {span(age_s)}" if count else ""),
        do=("trueup adjustments list --state pending",) if long else (),
        facts={"in_flight": count, "oldest_s": age_s if count else None},
    )


def _notices(session: Session, settings: Settings) -> Part:
    waiting = notices.undelivered(session, limit=inbox.COUNTED)
    last = notices.last_try(session) if waiting else None
    trouble = last.trouble if last else None
    line = f"{up_to(inbox.COUNTED, waiting)} not delivered" if waiting else "none waits"
    if trouble:
        line += f", {urlsplit(settings.host_webhook_url).hostname}: {trouble}"
    return Part(
        name="notices",
        well=trouble is None,
        line=line,
        do=("trueup notices list --not-delivered",) if trouble else (),
        facts={"not_delivered": waiting, "trouble": trouble},
    )


_WHEN_SEEN = 'trueup findings close FINDING --because "..."'
# What shows more than the finding itself.
_LOOK_AT = {FindingKind.ROSTER_UNREADABLE.value: "trueup doctor"}


def _findings(session: Session, figures: Gauges) -> Part:
    found = figures.findings
    urgent = standing.urgent_findings(session)
    by_hand = found.keys() & CLOSED_BY_HAND
    looks = [
        _LOOK_AT.get(kind, f"trueup findings list --state open --type {kind}")
        for kind in sorted(urgent.keys() | by_hand)
    ]
    line = counted(found) or "none open"
    if urgent:
        line += f"; urgent: {counted(urgent)}"
    return Part(
        name="findings",
        well=not urgent and not by_hand,
        line=line,
        do=(*looks, _WHEN_SEEN) if by_hand else tuple(looks),
        facts={"open": dict(found), "urgent": dict(urgent)},
    )


def _schedule(queue: QueueSeen | str) -> Iterator[Part]:
    """Yield whether a schedule is there: a night that does not come is seen a night too late."""
    if isinstance(queue, QueueSeen):
        there = bool(queue.schedules)
        yield Part(
            name="schedule",
            well=there,
            line=alive(queue.schedules),
            do=() if there else ("trueup schedule",),
            facts={"alive": len(queue.schedules)},
        )
