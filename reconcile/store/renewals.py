"""What waits for a renewal: inbox rows that come due in the last hour of a period."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, func, literal, select, union_all, update
from sqlalchemy.orm import Session

from reconcile.actor import Actor
from reconcile.store import inbox
from reconcile.tables import events, subscriptions

LOWER = "trueup.renewal.lower"  # follows from the active count; the latest one counts
APPROVED = "trueup.renewal.approved"  # an account manager's change of a contract
PLANNED = frozenset({LOWER, APPROVED})

_TO_MAKE = ("pending",)
_NOT_MADE = ("pending", "dead")  # who requeues a dead letter has it made after all
_LATER = "a later change was approved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """An approved change of a contract: absolute quantities, and who approved it and why.

    `id` is that of the request that waits; the adjustment it becomes names it as its trigger.
    """

    id: str
    subscription_id: str
    quantities: Mapping[str, int]
    approved: str
    actor: Actor
    period_end: datetime


def plan_lowering(
    session: Session,
    subscription_id: str,
    quantities: Mapping[str, int],
    *,
    period_end: datetime,
    due_at: datetime,
) -> None:
    """Remember what to lower before this period ends; one row a period, the latest plan counts."""
    payload = {"quantities": dict(quantities), "period_end": int(period_end.timestamp())}
    _plan(session, subscription_id, LOWER, payload, due_at)


def plan_change(  # noqa: PLR0913 - one row, all by name
    session: Session,
    subscription_id: str,
    quantities: Mapping[str, int],
    *,
    approved: str,
    actor: Actor,
    period_end: datetime,
    due_at: datetime,
) -> None:
    """Remember an approved change for the end of this period.

    Of each seat type the latest one counts: what was approved of another one before still stands.
    """
    for row in _waiting(session, _of(subscription_id), APPROVED, "dead"):
        _take_out(session, row, quantities, _LATER)
    wanted, reasons = dict(quantities), [approved]
    for row in _waiting(session, _of(subscription_id), APPROVED):
        before = orjson.loads(row.payload)
        if before["period_end"] == int(period_end.timestamp()):
            wanted = before["quantities"] | wanted
            if before["quantities"].keys() - quantities.keys():
                reasons.insert(0, before["approved"])
    payload = {
        "quantities": wanted,
        "approved": "; ".join(reasons),
        "actor": asdict(actor),
        "period_end": int(period_end.timestamp()),
    }
    _plan(session, subscription_id, APPROVED, payload, due_at)


def approved(session: Session, subscription_id: str) -> tuple[Approved, ...]:
    """Return the approved changes that wait and are not made, the first approved first."""
    return _approved(session, _of(subscription_id))


def approved_of(session: Session, organization_id: str) -> tuple[Approved, ...]:
    """Return those of any subscription that was ever the organization's, dead letters as well."""
    return _approved(session, _of_any(organization_id), *_NOT_MADE)


def _approved(session: Session, which: ColumnElement[bool], *states: str) -> tuple[Approved, ...]:
    found = []
    for row in _waiting(session, which, APPROVED, *states):
        payload = orjson.loads(row.payload)
        if payload["quantities"]:
            found.append(
                Approved(
                    id=row.id,
                    subscription_id=row.work_key.removeprefix("sub:"),
                    quantities=payload["quantities"],
                    approved=payload["approved"],
                    actor=Actor(**payload["actor"]),
                    period_end=datetime.fromtimestamp(payload["period_end"], UTC),
                )
            )
    return tuple(found)


def move(
    session: Session, subscription_id: str, to: str, *, outcome: str, due_at: datetime
) -> None:
    """Have what was approved wait for another subscription, looked at when it is due.

    It keeps its place among those that wait there. Of a kind of seats that one of those names as
    well the later one counts.
    """
    for row in _waiting(session, _of(subscription_id), APPROVED):
        payload = orjson.loads(row.payload)
        there = _waiting(session, _of(to), APPROVED, *_NOT_MADE)
        after = [each for each in there if each.received_at > row.received_at]
        later = {name for each in after for name in orjson.loads(each.payload)["quantities"]}
        if left := _without(payload["quantities"], later):
            for each in there:
                if each not in after:
                    _take_out(session, each, left, _LATER)
            moved = inbox.add_request(
                session,
                type=APPROVED,
                work_key=f"sub:{to}",
                payload=payload | {"quantities": left},
                due_at=due_at,
            )
            place = update(events).where(events.c.id == moved)
            session.execute(place.values(received_at=row.received_at))
        _leave(session, row, {}, outcome)


def date(session: Session, waits: Collection[Approved], due_at: datetime) -> None:
    """Have these come due then."""
    these = events.c.id.in_([each.id for each in waits]) & (events.c.state == "pending")
    # In the order in which a worker takes them: it may be taking these.
    in_order = select(events.c.id).where(these).order_by(events.c.id.collate("C"))
    found = session.scalars(in_order.with_for_update()).all()
    session.execute(update(events).where(events.c.id.in_(found)).values(**inbox.dated(due_at)))


def withdraw(
    session: Session,
    subscription_id: str,
    outcome: str,
    *,
    kind: str = APPROVED,
    dead_letters: bool = False,
) -> None:
    """Take back all of the kind that waits; who forces a rerun finds nothing to apply."""
    states = _NOT_MADE if dead_letters else _TO_MAKE
    for row in _waiting(session, _of(subscription_id), kind, *states):
        if orjson.loads(row.payload)["quantities"]:
            _leave(session, row, {}, outcome)


def leave_out(
    session: Session,
    organization_id: str,
    seat_types: Collection[str],
    *,
    through: str | None,
    outcome: str,
) -> None:
    """Take these seat types out of what was approved, up to the request `through`: it is made.

    That one stays for whoever works it off, with what is left of it. Where it is no approval, all
    of them were approved before; also those that wait where the seats were once. `outcome` says
    what ended the others.
    """
    # Of any state: it may have been taken out meanwhile for a later one, which still stands.
    this = (events.c.id == through, events.c.type == APPROVED)
    made = session.scalar(select(events.c.received_at).where(*this))
    for row in _waiting(session, _of_any(organization_id), APPROVED, *_NOT_MADE):
        if made is None or row.received_at <= made:
            _take_out(session, row, seat_types, None if row.id == through else outcome)


def _take_out(
    session: Session, row: Any, seat_types: Collection[str], outcome: str | None = None
) -> None:
    planned = orjson.loads(row.payload)["quantities"]
    # One that nothing is taken out of is not ended by it: it may be a dead letter of something else
    if (left := _without(planned, seat_types)) != planned:
        _leave(session, row, left, outcome)


def _without(quantities: Mapping[str, int], seat_types: Collection[str]) -> dict[str, int]:
    return {name: count for name, count in quantities.items() if name not in seat_types}


def _leave(
    session: Session, row: Any, quantities: Mapping[str, int], outcome: str | None = None
) -> None:
    """Leave so much of what is planned; it is done with this outcome where that is nothing."""
    values: dict[str, Any] = {
        "payload": orjson.dumps(orjson.loads(row.payload) | {"quantities": quantities})
    }
    if outcome is not None and not quantities:
        values |= {
            "state": "done",
            "outcome": outcome,
            "reason": None,
            "error_class": None,
            "error_fingerprint": None,
            "due_at": None,
            "finished_at": func.now(),
        }
    session.execute(update(events).where(events.c.id == row.id).values(values))


def _plan(
    session: Session,
    subscription_id: str,
    kind: str,
    payload: Mapping[str, Any],
    due_at: datetime,
) -> None:
    for row in _waiting(session, _of(subscription_id), kind):
        if orjson.loads(row.payload)["period_end"] == payload["period_end"]:
            values = {"payload": orjson.dumps(payload), **inbox.dated(due_at)}
            if kind == APPROVED:
                # As late as the latest of it: where it waits with others, the later one counts.
                values["received_at"] = func.now()
            session.execute(update(events).where(events.c.id == row.id).values(values))
            return
    inbox.add_request(
        session, type=kind, work_key=f"sub:{subscription_id}", payload=payload, due_at=due_at
    )


def waits_for(
    session: Session, subscription_id: str, *, period_start: datetime, period_end: datetime
) -> bool:
    """Return whether anything is planned for the end of this period, and not made.

    An approval of another period's end waits for this one, unless that was missed: the period was
    changed since, or the seats went to another subscription.
    """
    lowers = _waiting(session, _of(subscription_id), LOWER)
    end = int(period_end.timestamp())
    return any(orjson.loads(row.payload)["period_end"] == end for row in lowers) or any(
        each.period_end > period_start for each in approved(session, subscription_id)
    )


def planned_until(session: Session, subscription_id: str, moment: datetime) -> dict[str, int]:
    """Return the quantities planned for a renewal up to then, and not made; empty if none."""
    planned: dict[str, int] = {}
    for row in _waiting(session, _of(subscription_id), LOWER):
        payload = orjson.loads(row.payload)
        if payload["period_end"] <= int(moment.timestamp()):
            planned |= payload["quantities"]
    return planned


def _of(subscription_id: str) -> ColumnElement[bool]:
    return events.c.work_key == f"sub:{subscription_id}"


def _of_any(organization_id: str) -> ColumnElement[bool]:
    whose = subscriptions.c.organization_id == organization_id
    return events.c.work_key.in_(select(literal("sub:") + subscriptions.c.id).where(whose))


def _waiting(
    session: Session, which: ColumnElement[bool], kind: str, *states: str
) -> Sequence[Any]:
    """Return the rows that wait to be made, the first received first; or those of these states."""
    # One select a state: each has an index of its own.
    found = [
        select(events.c.id, events.c.work_key, events.c.payload, events.c.received_at).where(
            which, events.c.type == kind, events.c.state == state
        )
        for state in states or _TO_MAKE
    ]
    return session.execute(union_all(*found).order_by("received_at")).all()
