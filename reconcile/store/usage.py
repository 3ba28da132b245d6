"""What the host reports of a month (C9): one row per organization, month, metric and currency."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from reconcile.database import lock_in_transaction
from reconcile.tables import usage_signals

# Two years are more than any row of months has to be followed back.
MOST_MONTHS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One value of one month. `currency` is empty for orders; GMV is in its minor units."""

    month: str
    metric: str
    currency: str
    value: int
    reported_at: datetime | None = None


def lock(session: Session, organization_id: str) -> None:
    """Hold the organization's usage until the transaction ends: two reports follow one another."""
    lock_in_transaction(session, f"usage:{organization_id}")


def write(session: Session, organization_id: str, signals: Sequence[Signal]) -> None:
    """Write the values; one that was reported before is replaced."""
    for signal in signals:
        session.execute(
            insert(usage_signals)
            .values(
                organization_id=organization_id,
                month=signal.month,
                metric=signal.metric,
                currency=signal.currency,
                value=signal.value,
            )
            .on_conflict_do_update(
                index_elements=["organization_id", "month", "metric", "currency"],
                set_={"value": signal.value, "reported_at": func.now()},
            )
        )


def months(
    session: Session, organization_id: str, *, before: str | None = None, limit: int = MOST_MONTHS
) -> dict[str, tuple[Signal, ...]]:
    """Return the values of at most `limit` months, the newest first, older than `before`."""
    of_organization = usage_signals.c.organization_id == organization_id
    wanted = select(usage_signals.c.month).distinct().where(of_organization)
    if before is not None:
        wanted = wanted.where(usage_signals.c.month < before)
    newest = wanted.order_by(usage_signals.c.month.desc()).limit(limit)
    rows = session.execute(
        select(usage_signals)
        .where(of_organization, usage_signals.c.month.in_(newest))
        .order_by(usage_signals.c.month.desc(), usage_signals.c.metric, usage_signals.c.currency)
    )
    found: dict[str, tuple[Signal, ...]] = {}
    for row in rows.mappings():
        signal = Signal(**{name: row[name] for name in Signal.__slots__})
        found[signal.month] = (*found.get(signal.month, ()), signal)
    return found


def of_month(session: Session, organization_id: str, month: str) -> tuple[Signal, ...]:
    """Return the values of one month."""
    rows = session.execute(
        select(usage_signals)
        .where(usage_signals.c.organization_id == organization_id, usage_signals.c.month == month)
        .order_by(usage_signals.c.metric, usage_signals.c.currency)
    )
    return tuple(
        Signal(**{name: row[name] for name in Signal.__slots__}) for row in rows.mappings()
    )
