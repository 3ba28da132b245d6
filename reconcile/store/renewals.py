"""Lowerings that wait for a renewal: inbox rows that come due in the last hour of a period."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from reconcile.store import inbox
from reconcile.tables import events

TYPE = "trueup.renewal.lower"


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
    for row in _waiting(session, subscription_id):
        if orjson.loads(row.payload)["period_end"] == payload["period_end"]:
            session.execute(
                update(events)
                .where(events.c.id == row.id)
                .values(payload=orjson.dumps(payload), due_at=due_at)
            )
            return
    inbox.add_request(
        session,
        type=TYPE,
        work_key=f"sub:{subscription_id}",
        payload=payload,
        due_at=due_at,
    )


def planned_before(
    session: Session, subscription_id: str, period_start: datetime
) -> dict[str, int]:
    """Return the quantities planned for a renewal that has passed without them; empty if none."""
    planned: dict[str, int] = {}
    for row in _waiting(session, subscription_id):
        payload = orjson.loads(row.payload)
        if payload["period_end"] <= int(period_start.timestamp()):
            planned |= payload["quantities"]
    return planned


def _waiting(session: Session, subscription_id: str) -> Sequence[Any]:
    return session.execute(
        select(events.c.id, events.c.payload)
        .where(
            events.c.work_key == f"sub:{subscription_id}",
            events.c.type == TYPE,
            events.c.state == "pending",
        )
        .order_by(events.c.received_at)
    ).all()
