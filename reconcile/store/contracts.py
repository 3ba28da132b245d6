"""Contracts and the peaks above them: what was agreed, by whom and why (A6, A7).

Rows are only added: the newest one of an organization is in force, the others are its history.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from reconcile.actor import Actor
from reconcile.store import inbox
from reconcile.tables import contract_peaks, contracts, events

LOOK = "trueup.contract.look"  # something of a contract begins or ends by then, or was taken back


@dataclass(frozen=True, slots=True, kw_only=True)
class Removals:
    """A7: whether seats may be removed before the contract ends; a person decides and says why."""

    allowed: bool
    because: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What is agreed, in whole seats by seat type. `change` is set where it came from a change."""

    id: int
    organization_id: str
    kind: str
    quantities: Mapping[str, int]
    starts_at: datetime
    ends_at: datetime | None
    removals: Removals | None
    change: Mapping[str, Any] | None
    adjustment_id: str | None
    recorded_by: str
    because: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The highest count of active members in a billing period that had more than was agreed."""

    organization_id: str
    seat_type: str
    period_start: datetime
    period_end: datetime | None
    agreed: int
    peak: int
    peak_at: datetime


def in_force(session: Session, organization_id: str) -> Contract | None:
    """Return the contract as it is now, or None when none was recorded."""
    found = history(session, organization_id, limit=1)
    return found[0] if found else None


def history(
    session: Session, organization_id: str, *, before_id: int | None = None, limit: int = 50
) -> tuple[Contract, ...]:
    """Return what was recorded, the newest first, at most `limit` older than `before_id`."""
    wanted = select(contracts).where(contracts.c.organization_id == organization_id)
    if before_id is not None:
        wanted = wanted.where(contracts.c.id < before_id)
    rows = session.execute(wanted.order_by(contracts.c.id.desc()).limit(limit)).mappings()
    return tuple(_contract(row) for row in rows)


def _contract(row: RowMapping) -> Contract:
    values: dict[str, Any] = {name: row[name] for name in Contract.__slots__}
    values["removals"] = Removals(**row["removals"]) if row["removals"] else None
    return Contract(**values)


def record(  # noqa: PLR0913 - the values of one row, all by name
    session: Session,
    organization_id: str,
    actor: Actor,
    *,
    kind: str,
    quantities: Mapping[str, int],
    starts_at: datetime,
    ends_at: datetime | None,
    removals: Removals | None,
    because: str,
) -> Contract:
    """Add what an account manager says is agreed, and return it."""
    return _add(
        session,
        organization_id=organization_id,
        kind=kind,
        quantities=dict(quantities),
        starts_at=starts_at,
        ends_at=ends_at,
        removals=_as_json(removals),
        recorded_by=actor.who,
        because=because,
    )


def change(  # noqa: PLR0913 - the values of one row, all by name
    session: Session,
    organization_id: str,
    actor: Actor,
    quantities: Mapping[str, int],
    *,
    adjustment_id: str | None,
    because: str,
) -> None:
    """Add that an approved change is in force; nothing where no contract is on record.

    It has no adjustment where somebody else had set it in Stripe.
    """
    found = in_force(session, organization_id)
    if found is None:
        return
    after = {**found.quantities, **quantities}
    _add(
        session,
        organization_id=organization_id,
        kind=found.kind,
        quantities=after,
        starts_at=found.starts_at,
        ends_at=found.ends_at,
        removals=_as_json(found.removals),
        change={"before": dict(found.quantities), "after": after},
        adjustment_id=adjustment_id,
        recorded_by=actor.who,
        because=because,
    )


def _as_json(removals: Removals | None) -> dict[str, Any] | None:
    return asdict(removals) if removals else None


def _add(session: Session, **values: Any) -> Contract:
    added = session.execute(insert(contracts).values(**values).returning(contracts))
    return _contract(added.mappings().one())


def look_at_end(session: Session, organization_id: str, moments: Iterable[datetime]) -> None:
    """Plan a look at the organization at each of these moments, in place of those planned before.

    They are inbox requests, so no crash loses them and no nightly run is needed.
    """
    key = f"org:{organization_id}"
    session.execute(
        update(events)
        .where(events.c.work_key == key, events.c.type == LOOK, events.c.state == "pending")
        .values(
            state="done",
            outcome="another contract is on record",
            due_at=None,
            finished_at=func.now(),
        )
    )
    for moment in moments:
        inbox.add_request(session, type=LOOK, work_key=key, payload={}, due_at=moment)


def note_peak(session: Session, peak: Peak) -> None:
    """Keep the period's highest count above what was agreed; a lower one changes nothing."""
    values = {name: getattr(peak, name) for name in Peak.__slots__}
    added = insert(contract_peaks).values(**values)
    higher = added.excluded.peak - added.excluded.agreed > (
        contract_peaks.c.peak - contract_peaks.c.agreed
    )
    session.execute(
        added.on_conflict_do_update(
            index_elements=["organization_id", "seat_type", "period_start"],
            set_={name: added.excluded[name] for name in ("agreed", "peak", "peak_at")},
            where=higher,
        )
    )


def peaks(
    session: Session,
    organization_id: str,
    *,
    after: tuple[datetime, str] | None = None,
    limit: int = 50,
) -> tuple[Peak, ...]:
    """Return at most `limit` peaks, newest period first, then by seat type.

    `after` is the period start and seat type of the last one seen.
    """
    wanted = select(contract_peaks).where(contract_peaks.c.organization_id == organization_id)
    if after is not None:
        start, seat_type = after
        same = and_(contract_peaks.c.period_start == start, contract_peaks.c.seat_type > seat_type)
        wanted = wanted.where(or_(contract_peaks.c.period_start < start, same))
    ordered = wanted.order_by(contract_peaks.c.period_start.desc(), contract_peaks.c.seat_type)
    rows = session.execute(ordered.limit(limit)).mappings()
    return tuple(Peak(**{name: row[name] for name in Peak.__slots__}) for row in rows)


def last_finished_peaks(
    session: Session, organization_id: str, *, period_start: datetime
) -> tuple[Peak, ...]:
    """Return the peaks of the latest period that had any and was over by `period_start`."""
    whose = contract_peaks.c.organization_id == organization_id
    latest = (
        select(func.max(contract_peaks.c.period_start))
        .where(whose, contract_peaks.c.period_start < period_start)
        .scalar_subquery()
    )
    rows = session.execute(
        select(contract_peaks)
        .where(whose, contract_peaks.c.period_start == latest)
        .order_by(contract_peaks.c.seat_type)
    ).mappings()
    return tuple(Peak(**{name: row[name] for name in Peak.__slots__}) for row in rows)
