"""Adjustments and the ledger: what was intended, what became of it, and the lines it brought."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from reconcile.actor import TRUEUP, Actor
from reconcile.policy.seat_change import Move
from reconcile.stripe_shapes import InvoiceLine
from reconcile.tables import adjustments, ledger_lines

# What stands for a seat type where a plan's own fee switches its interval.
FEE = "fee"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatChange:
    """One seat type's part of an adjustment, in whole seats.

    `item_id` None adds the item. `active` is the active count it was decided with. The price
    differs from `from_price_id` when the interval changes. `automatic`: Auto-Add raised it.
    """

    seat_type: str
    item_id: str | None
    price_id: str
    from_price_id: str | None
    from_quantity: int
    to_quantity: int
    active: int
    automatic: bool = False

    @property
    def lowers(self) -> bool:
        """Whether seats go away."""
        return self.to_quantity < self.from_quantity

    def as_json(self) -> dict[str, Any]:
        """Return the element of the `changes` column."""
        return {
            "seat_type": self.seat_type,
            "item_id": self.item_id,
            "price_id": self.price_id,
            "from_price_id": self.from_price_id,
            "from": self.from_quantity,
            "to": self.to_quantity,
            "active": self.active,
            "automatic": self.automatic,
        }

    @classmethod
    def of_json(cls, raw: Mapping[str, Any]) -> "SeatChange":
        """Return the value of one element of the `changes` column."""
        return cls(
            seat_type=raw["seat_type"],
            item_id=raw["item_id"],
            price_id=raw["price_id"],
            from_price_id=raw["from_price_id"],
            from_quantity=raw["from"],
            to_quantity=raw["to"],
            active=raw["active"],
            automatic=raw.get("automatic", False),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What is about to be written to Stripe; recorded before it is.

    `trigger` is the event, the run or the person it came from; `actor` the person who asked.
    """

    subscription_id: str
    organization_id: str
    kind: str  # quantities or interval
    trigger: str
    reason: str
    changes: tuple[SeatChange, ...]
    proration_behavior: str
    moves: tuple[Move, ...] = ()
    payment_behavior: str | None = None
    proration_date: datetime | None = None
    preview: Mapping[str, Any] | None = None
    actor: Actor = TRUEUP


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """A recorded intent and what became of it. Amounts in minor units of `currency`."""

    id: str
    subscription_id: str
    organization_id: str
    kind: str
    trigger: str
    actor: Actor
    reason: str
    changes: tuple[SeatChange, ...]
    moves: tuple[Move, ...]
    proration_behavior: str
    payment_behavior: str | None
    proration_date: datetime | None
    preview: Mapping[str, Any] | None
    state: str
    attempt: int
    called_at: datetime | None
    outcome: str | None
    error_code: str | None
    stripe_request_id: str | None
    invoice_id: str | None
    currency: str | None
    total_minor: int | None
    starting_balance_minor: int | None
    amount_due_minor: int | None
    created_at: datetime
    finished_at: datetime | None
    checked_at: datetime | None

    @property
    def idempotency_key(self) -> str:
        """The key of this attempt: an unknown outcome reuses it, a definite failure does not."""
        return f"trueup-{self.id}-{self.attempt}"


def add(session: Session, intent: Intent, *, called_at: datetime) -> Adjustment:
    """Record the intent as pending and return it.

    Raises IntegrityError when another one of the subscription is pending: one at a time.
    """
    row = session.execute(
        insert(adjustments)
        .values(
            id=f"adj_{uuid.uuid4().hex}",
            subscription_id=intent.subscription_id,
            organization_id=intent.organization_id,
            kind=intent.kind,
            trigger=intent.trigger,
            actor=None if intent.actor == TRUEUP else asdict(intent.actor),
            reason=intent.reason,
            changes=[change.as_json() for change in intent.changes],
            moves=[asdict(move) for move in intent.moves],
            proration_behavior=intent.proration_behavior,
            payment_behavior=intent.payment_behavior,
            proration_date=intent.proration_date,
            preview=intent.preview,
            currency=(intent.preview or {}).get("currency"),
            called_at=called_at,
        )
        .returning(adjustments)
    )
    return _adjustment(row.mappings().one())


def by_id(session: Session, adjustment_id: str) -> Adjustment | None:
    """Return the adjustment, or None."""
    return _first(session, adjustments.c.id == adjustment_id)


def pending(session: Session, subscription_id: str) -> Adjustment | None:
    """Return the subscription's adjustment in flight, or None."""
    return _first(
        session, adjustments.c.subscription_id == subscription_id, adjustments.c.state == "pending"
    )


def unchecked(session: Session, subscription_id: str) -> tuple[Adjustment, ...]:
    """Return the applied adjustments whose invoice has not been read yet, oldest first."""
    return _all(
        session,
        adjustments.c.subscription_id == subscription_id,
        adjustments.c.state == "applied",
        adjustments.c.checked_at.is_(None),
    )


def recent(session: Session, subscription_id: str, since: datetime) -> tuple[Adjustment, ...]:
    """Return the subscription's adjustments since a time, oldest first."""
    return _all(
        session,
        adjustments.c.subscription_id == subscription_id,
        adjustments.c.created_at >= since,
    )


def of_subscription(session: Session, subscription_id: str) -> tuple[Adjustment, ...]:
    """Return all adjustments of the subscription, oldest first."""
    return _all(session, adjustments.c.subscription_id == subscription_id)


def _first(session: Session, *where: Any) -> Adjustment | None:
    row = session.execute(select(adjustments).where(*where)).mappings().one_or_none()
    return None if row is None else _adjustment(row)


def _all(session: Session, *where: Any) -> tuple[Adjustment, ...]:
    rows = session.execute(
        select(adjustments).where(*where).order_by(adjustments.c.created_at, adjustments.c.id)
    )
    return of_rows(rows.mappings())


def of_rows(rows: Iterable[RowMapping]) -> tuple[Adjustment, ...]:
    """Return the adjustments of rows that were read elsewhere (`look`)."""
    return tuple(_adjustment(row) for row in rows)


def _adjustment(row: RowMapping) -> Adjustment:
    parsed: dict[str, Any] = {
        "changes": tuple(SeatChange.of_json(raw) for raw in row["changes"]),
        "moves": tuple(Move(**raw) for raw in row["moves"]),
        "actor": Actor(**row["actor"]) if row["actor"] else TRUEUP,
    }
    return Adjustment(**{name: parsed.get(name, row[name]) for name in Adjustment.__slots__})


def next_attempt(session: Session, adjustment_id: str, *, called_at: datetime) -> Adjustment:
    """Count up the attempt after a definite failure: the next call has a key of its own."""
    return _written(
        session,
        adjustment_id,
        attempt=adjustments.c.attempt + 1,
        called_at=called_at,
    )


def finish(
    session: Session, adjustment_id: str, *, state: str, at: datetime, outcome: str, **facts: Any
) -> Adjustment:
    """Record what became of a pending adjustment; one that is finished already stays as it is."""
    return _written(
        session, adjustment_id, state=state, finished_at=at, outcome=outcome[:1000], **facts
    )


def _written(session: Session, adjustment_id: str, **values: Any) -> Adjustment:
    session.execute(
        update(adjustments)
        .where(adjustments.c.id == adjustment_id, adjustments.c.state == "pending")
        .values(**values)
    )
    row = session.execute(select(adjustments).where(adjustments.c.id == adjustment_id))
    return _adjustment(row.mappings().one())


def mark_checked(session: Session, adjustment_id: str, at: datetime) -> None:
    """Note that the invoice was read and the ledger is written."""
    this = adjustments.c.id == adjustment_id
    session.execute(update(adjustments).where(this).values(checked_at=at))


def write_ledger(
    session: Session,
    adjustment_id: str,
    lines: Iterable[tuple[InvoiceLine, str | None]],
) -> None:
    """Write the lines an adjustment brought, each with its seat type, as Stripe wrote them.

    A line first written while it was pending keeps its adjustment and learns its invoice.
    """
    for line, seat_type in lines:
        values = {
            "invoice_id": line.invoice_id,
            "quantity": line.quantity,
            "amount_minor": line.amount_minor,
            "description": line.description,
        }
        session.execute(
            insert(ledger_lines)
            .values(
                id=line.id,
                adjustment_id=adjustment_id,
                seat_type=seat_type,
                price_id=line.price_id,
                currency=line.currency,
                proration=line.proration,
                period_start=line.period_start,
                period_end=line.period_end,
                **values,
            )
            .on_conflict_do_update(index_elements=["id"], set_=values)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLine:
    """One line of the ledger, minor units."""

    id: str
    adjustment_id: str
    invoice_id: str | None
    seat_type: str | None
    price_id: str | None
    quantity: int | None
    amount_minor: int
    currency: str
    proration: bool
    description: str | None


def ledger_of(session: Session, adjustment_id: str) -> tuple[LedgerLine, ...]:
    """Return the ledger lines of an adjustment, credits first."""
    rows = session.execute(
        select(ledger_lines)
        .where(ledger_lines.c.adjustment_id == adjustment_id)
        .order_by(ledger_lines.c.amount_minor, ledger_lines.c.id)
    )
    return tuple(
        LedgerLine(**{name: row[name] for name in LedgerLine.__slots__}) for row in rows.mappings()
    )


def lines_beside(session: Session, of: Intent | Adjustment) -> frozenset[str]:
    """Return the ids of the ledger lines of the subscription's other adjustments of its second.

    What Stripe prorates from one second is alike where the quantities are: a line that is written
    down for one adjustment is not another's.
    """
    found = (
        select(ledger_lines.c.id)
        .join(adjustments, adjustments.c.id == ledger_lines.c.adjustment_id)
        .where(
            adjustments.c.subscription_id == of.subscription_id,
            adjustments.c.proration_date == of.proration_date,
        )
    )
    if isinstance(of, Adjustment):
        found = found.where(adjustments.c.id != of.id)
    return frozenset(session.scalars(found))


def count(session: Session, **equal: Any) -> int:
    """Return how many adjustments have these column values."""
    where = [adjustments.c[name] == value for name, value in equal.items()]
    return session.scalar(select(func.count()).select_from(adjustments).where(*where)) or 0
