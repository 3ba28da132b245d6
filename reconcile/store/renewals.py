"""What waits for a renewal: inbox rows that come due in the last hour of a period."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, func, literal, select, update
from sqlalchemy.orm import Session

from reconcile.actor import Actor
from reconcile.store import inbox
from reconcile.tables import events, subscriptions

LOWER = "trueup.renewal.lower"  # follows from the active count; the latest one counts
APPROVED = "trueup.renewal.approved"  # an account manager's change of a contract
PLANNED = frozenset({LOWER, APPROVED})


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
    """Return those that wait on any subscription that was ever the organization's."""
    return _approved(session, _of_any(organization_id))


def _approved(session: Session, which: ColumnElement[bool]) -> tuple[Approved, ...]:
    found = []
    for row in _waiting(session, which, APPROVED):
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

    It keeps its place among those that wait there. A kind of seats that one of those names was
    approved after it, and counts.
    """
    later = {name for each in approved(session, to) for name in each.quantities}
    for row in _waiting(session, _of(subscription_id), APPROVED):
        payload = orjson.loads(row.payload)
        planned = payload["quantities"]
        if left := {name: count for name, count in planned.items() if name not in later}:
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
    this = events.c.id.in_([each.id for each in waits]) & (events.c.state == "pending")
    session.execute(update(events).where(this).values(**inbox.dated(due_at)))


def withdraw(session: Session, subscription_id: str, outcome: str, *, kind: str = APPROVED) -> None:
    """Take back all of the kind that waits; who forces a rerun finds nothing to apply."""
    for row in _waiting(session, _of(subscription_id), kind):
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

    That one stays for whoever works it off, with what is left of it. Where it is none of those that
    wait, all of them were approved before; also those that wait where the seats were once.
    `outcome` says what ended the others.
    """
    for row in _waiting(session, _of_any(organization_id), APPROVED):
        planned = orjson.loads(row.payload)["quantities"]
        left = {name: count for name, count in planned.items() if name not in seat_types}
        if row.id == through:
            _leave(session, row, left)
            return
        _leave(session, row, left, outcome)


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
            session.execute(
                update(events)
                .where(events.c.id == row.id)
                .values(payload=orjson.dumps(payload), **inbox.dated(due_at))
            )
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


def _waiting(session: Session, which: ColumnElement[bool], kind: str) -> Sequence[Any]:
    return session.execute(
        select(events.c.id, events.c.work_key, events.c.payload, events.c.received_at)
        .where(which, events.c.type == kind, events.c.state == "pending")
        .order_by(events.c.received_at)
    ).all()
