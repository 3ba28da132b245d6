"""What on-call looks at: rows by filter, a page at a time, the newest first. Nothing is written.

A page goes on `before` the place of its last row, so that rows that come in meanwhile neither
repeat nor push others off.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, func, or_, select, tuple_
from sqlalchemy.orm import Session

from reconcile.store import adjustments as adjustments_store
from reconcile.store.adjustments import Adjustment
from reconcile.store.findings import Finding
from reconcile.tables import adjustments, events, findings, organizations, subscriptions

EVENT_STATES = ("pending", "done", "ignored", "superseded", "dead", "discarded")
ADJUSTMENT_STATES = ("pending", "applied", "refused", "failed")
FINDING_STATES = ("open", "closed")

# What a list of dead letters is grouped into at most.
MOST_GROUPS = 50

Place = tuple[datetime, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which rows; None is any. `object_id` is any id of Stripe's or ours that a row names."""

    state: str | None = None
    not_states: tuple[str, ...] | None = None  # of events
    type: str | None = None  # of an event; of a finding its kind; of an adjustment its kind
    fingerprint: str | None = None
    error_class: str | None = None
    object_id: str | None = None
    customer_id: str | None = None
    organization_id: str | None = None
    subscription_id: str | None = None
    source: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The filters that are set, by name."""
        every = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in every.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An inbox row without its payload. `line` is what happened, or what it waits for."""

    id: str
    source: str
    kind: str
    type: str
    api_version: str | None
    livemode: bool | None
    stripe_account: str | None
    secret_name: str | None
    stripe_created_at: datetime | None
    object_id: str | None
    subscription_id: str | None
    customer_id: str | None
    organization_id: str | None
    work_key: str | None
    state: str
    reason: str | None
    outcome: str | None
    error_class: str | None
    error_fingerprint: str | None
    superseded_by: str | None
    tries: Sequence[Mapping[str, Any]]
    decided: Sequence[Mapping[str, Any]] | None
    held_by: int | None
    attempts: int
    deliveries: int
    received_at: datetime
    last_delivered_at: datetime | None
    due_at: datetime | None
    requeued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def line(self) -> str:
        """One line for a person."""
        if self.superseded_by:
            return f"handled with {self.superseded_by}"
        return self.outcome or self.reason or self.state


_SHOWN = tuple(events.c[each.name] for each in fields(Event))


def events_page(
    session: Session, filters: Filters, *, limit: int, before: Place | None = None
) -> tuple[Event, ...]:
    """Return events that match, the newest received first."""
    wanted = select(*_SHOWN).where(*events_where(filters))
    if before is not None:
        wanted = wanted.where(tuple_(events.c.received_at, events.c.id) < before)
    newest = wanted.order_by(events.c.received_at.desc(), events.c.id.desc()).limit(limit)
    return tuple(_event(row) for row in session.execute(newest).mappings())


def event(session: Session, event_id: str) -> Event | None:
    """Return the event, or None."""
    row = session.execute(select(*_SHOWN).where(events.c.id == event_id)).mappings()
    found = row.one_or_none()
    return None if found is None else _event(found)


def events_by_ids(session: Session, event_ids: Sequence[str]) -> dict[str, Event]:
    """Return those of the events that are there, by id."""
    rows = session.execute(select(*_SHOWN).where(events.c.id.in_(event_ids))).mappings()
    return {row["id"]: _event(row) for row in rows}


def superseded_with(session: Session, event: Event, *, limit: int) -> tuple[str, ...]:
    """Return the ids of events that were handled together with this one."""
    # What goes together has one of these in common, and they are indexed.
    if event.subscription_id is not None:
        together = events.c.subscription_id == event.subscription_id
    elif event.customer_id is not None:
        together = events.c.customer_id == event.customer_id
    else:
        together = (events.c.kind == "request") & (
            events.c.organization_id == event.organization_id
        )
    found = select(events.c.id).where(together, events.c.superseded_by == event.id)
    return tuple(session.scalars(found.order_by(events.c.received_at).limit(limit)))


def events_where(filters: Filters) -> list[ColumnElement[bool]]:
    """Return the conditions on `events` that the filters ask for."""
    column = events.c
    equal = {
        column.state: filters.state,
        column.type: filters.type,
        column.error_fingerprint: filters.fingerprint,
        column.error_class: filters.error_class,
        column.customer_id: filters.customer_id,
        column.subscription_id: filters.subscription_id,
        column.source: filters.source,
    }
    found = [name == value for name, value in equal.items() if value is not None]
    if filters.not_states:
        found.append(column.state.not_in(filters.not_states))
    if filters.object_id is not None:
        named = (column.id, column.object_id, column.subscription_id, column.customer_id)
        found.append(or_(*(name == filters.object_id for name in named)))
    if filters.organization_id is not None:
        found.append(_of_organization(filters.organization_id))
    return [*found, *_between(column.received_at, filters)]


def _of_organization(organization_id: str) -> ColumnElement[bool]:
    """Return whether an event is of the organization: by its name, its subscriptions, its payer."""
    # As an array, each of the three comes in by its index; as a list they would all be a filter.
    its_own = select(subscriptions.c.id).where(subscriptions.c.organization_id == organization_id)
    payer = select(organizations.c.stripe_customer_id).where(organizations.c.id == organization_id)
    return or_(
        (events.c.kind == "request") & (events.c.organization_id == organization_id),
        events.c.subscription_id == func.any(func.array(its_own.scalar_subquery())),
        events.c.customer_id == payer.scalar_subquery(),
    )


def _between(column: Any, filters: Filters) -> list[ColumnElement[bool]]:
    found = [column >= filters.since] if filters.since is not None else []
    return found + ([column < filters.until] if filters.until is not None else [])


def count_events(session: Session, filters: Filters, *, most: int) -> int:
    """Return how many events match, counted up to `most`."""
    some = select(events.c.id).where(*events_where(filters)).limit(most).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorGroup:
    """Events with the same mistake: how many, since when, one of them, and what it says."""

    fingerprint: str
    error_class: str | None
    count: int
    oldest_at: datetime
    newest_at: datetime
    example_id: str
    line: str | None


def error_groups(session: Session, filters: Filters) -> tuple[ErrorGroup, ...]:
    """Return the failed events that match, grouped by the mistake, the largest group first."""
    column, known = events.c, events.c.error_fingerprint.is_not(None)
    grouped = (
        select(
            column.error_fingerprint.label("fingerprint"),
            func.min(column.error_class).label("error_class"),
            func.count().label("count"),
            func.min(column.received_at).label("oldest_at"),
            func.max(column.received_at).label("newest_at"),
            func.min(column.id).label("example_id"),
            func.min(column.reason).label("line"),
        )
        .where(known, *events_where(filters))
        .group_by(column.error_fingerprint)
        .order_by(func.count().desc(), column.error_fingerprint)
        .limit(MOST_GROUPS)
    )
    return tuple(ErrorGroup(**row) for row in session.execute(grouped).mappings())


def adjustments_page(
    session: Session, filters: Filters, *, limit: int, before: Place | None = None
) -> tuple[Adjustment, ...]:
    """Return adjustments that match, the newest first. `object_id` is its own or its invoice's."""
    column = adjustments.c
    equal = {
        column.state: filters.state,
        column.kind: filters.type,
        column.error_code: filters.fingerprint,
        column.organization_id: filters.organization_id,
        column.subscription_id: filters.subscription_id,
    }
    where = [name == value for name, value in equal.items() if value is not None]
    if filters.object_id is not None:
        named = (column.id, column.invoice_id, column.subscription_id, column.trigger)
        where.append(or_(*(name == filters.object_id for name in named)))
    if filters.customer_id is not None:
        where.append(column.subscription_id.in_(_of_customer(filters.customer_id)))
    if before is not None:
        where.append(tuple_(column.created_at, column.id) < before)
    newest = (
        select(adjustments)
        .where(*where, *_between(column.created_at, filters))
        .order_by(column.created_at.desc(), column.id.desc())
        .limit(limit)
    )
    return adjustments_store.of_rows(session.execute(newest).mappings())


def _of_customer(customer_id: str) -> Select[Any]:
    return select(subscriptions.c.id).where(subscriptions.c.customer_id == customer_id)


def findings_page(
    session: Session, filters: Filters, *, limit: int, before_id: int | None = None
) -> tuple[Finding, ...]:
    """Return findings that match, the newest first; `type` is their kind, `state` open or closed.

    `object_id` is the subject, whole (`sub_1/voice`) or its first part.
    """
    column = findings.c
    equal = {
        column.kind: filters.type,
        column.organization_id: filters.organization_id,
        column.subscription_id: filters.subscription_id,
    }
    where = [name == value for name, value in equal.items() if value is not None]
    if filters.state is not None:
        is_open = column.closed_at.is_(None)
        where.append(is_open if filters.state == "open" else ~is_open)
    if filters.object_id is not None:
        whole = func.split_part(column.subject, "/", 1) == filters.object_id
        where.append((column.subject == filters.object_id) | whole)
    if filters.customer_id is not None:
        where.append(column.subscription_id.in_(_of_customer(filters.customer_id)))
    if before_id is not None:
        where.append(column.id < before_id)
    newest = (
        select(findings)
        .where(*where, *_between(column.opened_at, filters))
        .order_by(column.id.desc())
        .limit(limit)
    )
    rows = session.execute(newest).mappings()
    return tuple(Finding(**{name: row[name] for name in Finding.__slots__}) for row in rows)


def finding(session: Session, finding_id: int) -> Finding | None:
    """Return the finding, or None."""
    row = session.execute(select(findings).where(findings.c.id == finding_id)).mappings()
    found = row.one_or_none()
    return None if found is None else Finding(**{name: found[name] for name in Finding.__slots__})


def _event(row: RowMapping) -> Event:
    return Event(**row)


# What one story names at most of each kind.
MOST_TOLD = 50


def adjustments_from(session: Session, trigger: str) -> tuple[Adjustment, ...]:
    """Return the adjustments that an event, a run or a person brought about, oldest first."""
    subscription_ids = select(events.c.subscription_id).where(events.c.id == trigger)
    found = (
        select(adjustments)
        .where(
            adjustments.c.trigger.in_([trigger, f"activation:{trigger}"]),
            # An index to come in by; what an organization's request brought is found by it, too.
            adjustments.c.subscription_id.in_(subscription_ids)
            | adjustments.c.organization_id.in_(_organizations_of(trigger)),
        )
        .order_by(adjustments.c.created_at, adjustments.c.id)
        .limit(MOST_TOLD)
    )
    return adjustments_store.of_rows(session.execute(found).mappings())


def _organizations_of(event_id: str) -> Select[Any]:
    this = events.c.id == event_id
    named = select(events.c.organization_id).where(this, events.c.organization_id.is_not(None))
    payers = select(organizations.c.id).join(
        events, events.c.customer_id == organizations.c.stripe_customer_id
    )
    return named.union(payers.where(this)).subquery().select()


def findings_from(
    session: Session, opened_by: Sequence[str], *, subscription_ids: Sequence[str]
) -> tuple[Finding, ...]:
    """Return the findings on these subscriptions that the events or adjustments opened."""
    found = (
        select(findings)
        .where(
            findings.c.opened_by.in_(opened_by),
            findings.c.subscription_id.in_(subscription_ids),
        )
        .order_by(findings.c.id)
        .limit(MOST_TOLD)
    )
    rows = session.execute(found).mappings()
    return tuple(Finding(**{name: row[name] for name in Finding.__slots__}) for row in rows)
