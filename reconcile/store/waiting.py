"""Members who wait for a seat to be bought: inbox requests, so that a crash loses none of them.

Whoever asks works them off itself; a request that is left behind comes due, and a worker does.
"""

from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from reconcile.actor import Actor
from reconcile.store.inbox import add_request, dated
from reconcile.tables import events

ACTIVATE = "trueup.member.activate"

# A burst is one update of Stripe; more than this many wait for the next one.
MOST_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Waiting:
    """One member's request for a seat."""

    id: str
    member_id: str
    actor: Actor
    unblocks: bool  # a member blocked meanwhile is let in only by a request to unblock
    left: bool  # by whoever asked: a worker has claimed it


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request ended; `code` is set when it was refused."""

    line: str
    code: str | None = None
    remedies: tuple[str, ...] = ()


def add(  # noqa: PLR0913 - one request, all by name
    session: Session,
    organization_id: str,
    member_id: str,
    *,
    actor: Actor,
    unblocks: bool = False,
    due_at: datetime,
) -> str:
    """Add a request and return its id. `due_at`: when a worker takes it up unless it is done."""
    return add_request(
        session,
        type=ACTIVATE,
        work_key=f"org:{organization_id}",
        payload={
            "organization": organization_id,
            "member": member_id,
            "actor": actor.who,
            "token": actor.token_id,
            "because": actor.because,
            "unblocks": unblocks,
        },
        due_at=due_at,
    )


def of_organization(session: Session, organization_id: str) -> tuple[Waiting, ...]:
    """Return the organization's open requests: those left behind first, then the oldest."""
    rows = session.execute(
        select(events.c.id, events.c.payload, events.c.started_at)
        .where(
            events.c.work_key == f"org:{organization_id}",
            events.c.state == "pending",
            events.c.type == ACTIVATE,
        )
        .order_by(events.c.started_at.is_(None), events.c.received_at, events.c.id)
        .limit(MOST_AT_ONCE)
    )
    found = []
    for row in rows:
        asked = orjson.loads(row.payload)
        actor = Actor(asked["actor"], asked.get("token"), asked.get("because"))
        left = row.started_at is not None
        found.append(Waiting(row.id, asked["member"], actor, asked.get("unblocks", False), left))
    return tuple(found)


def finish(session: Session, request_id: str, answer: Answer) -> None:
    """Record how an open request ended; the ways out are kept beside what was asked."""
    open_one = (events.c.id == request_id, events.c.state == "pending")
    payload = session.scalar(select(events.c.payload).where(*open_one).with_for_update())
    if payload is None:
        return
    asked = orjson.loads(payload)
    session.execute(
        update(events)
        .where(*open_one)
        .values(
            state="done",
            outcome=answer.line,
            reason=answer.code,
            payload=orjson.dumps(asked | {"remedies": answer.remedies}),
            finished_at=func.now(),
        )
    )


def answer_to(session: Session, request_id: str) -> Answer | None:
    """Return how the request ended, or None while it is open."""
    row = session.execute(
        select(events.c.state, events.c.outcome, events.c.reason, events.c.payload).where(
            events.c.id == request_id
        )
    ).one()
    if row.state == "pending":
        return None
    remedies = orjson.loads(row.payload).get("remedies", ())
    return Answer(row.outcome or row.state, row.reason, tuple(remedies))


def hand_over(session: Session, request_id: str, *, due_at: datetime) -> None:
    """Let a worker take an open request up: whoever asked could not finish it."""
    session.execute(
        update(events)
        .where(events.c.id == request_id, events.c.state == "pending")
        .values(dated(due_at))
    )
