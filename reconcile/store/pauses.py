"""Pauses: what is held back on purpose. Held rows stay pending and are due again on resuming.

A pause of a type or an organization holds inbox rows before anybody works on them; one of writes
lets them be looked at, and holds them where Stripe would be written to (`adjusting`). Nothing is
ever thrown away here.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import RowMapping, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from reconcile.actor import Actor
from reconcile.store.inbox import dated
from reconcile.tables import events, pauses

WRITES, TYPE, ORGANIZATION = "writes", "type", "organization"

# A held row looks again by itself after so long: a pause ended past this code is noticed, too.
LOOK_AGAIN = timedelta(minutes=15)

# Rows freed by one statement: a pause of days over a million rows has to be ended as well.
FREED_AT_ONCE = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """One pause. `value` is the event type or the organization; empty for all writes."""

    id: int
    scope: str
    value: str
    paused_by: str
    because: str
    paused_at: datetime
    resumed_at: datetime | None
    resumed_by: str | None

    @property
    def line(self) -> str:
        """What is paused, by whom and why, for a person."""
        what = " ".join(part for part in (self.scope, self.value) if part)
        return f"paused: {what} by {self.paused_by}: {self.because}"


def add(session: Session, scope: str, value: str, actor: Actor) -> Pause | None:
    """Begin a pause and return it; None when the same thing is paused already."""
    row = session.execute(
        insert(pauses)
        .values(scope=scope, value=value, paused_by=actor.who, because=actor.because or "")
        .on_conflict_do_nothing(
            index_elements=["scope", "value"], index_where=pauses.c.resumed_at.is_(None)
        )
        .returning(pauses)
    )
    return _pause(row.mappings().one_or_none())


def end(session: Session, scope: str, value: str, actor: Actor) -> tuple[Pause, int] | None:
    """End the pause and return it and how many rows it held; None when there is none.

    Whoever is holding a row at this moment has locked the pause's row: it is waited for, so that
    no row is left behind. Once this is committed `free` lets them go; those it does not come to
    look by themselves (`LOOK_AGAIN`).
    """
    row = session.execute(
        update(pauses)
        .where(pauses.c.scope == scope, pauses.c.value == value, pauses.c.resumed_at.is_(None))
        .values(resumed_at=func.now(), resumed_by=actor.who)
        .returning(pauses)
    )
    ended = _pause(row.mappings().one_or_none())
    if ended is None:
        return None
    return ended, held_rows(session, [ended.id]).get(ended.id, 0)


def free(session: Session, ended: Pause) -> int:
    """Make due up to `FREED_AT_ONCE` rows that an ended pause still holds; returns how many.

    A row that somebody is writing at this moment is passed over: that lets it go, or makes it due.
    """
    picked = (
        select(events.c.id)
        .where(events.c.held_by == ended.id)
        .limit(FREED_AT_ONCE)
        .with_for_update(skip_locked=True)
        .cte("picked")
    )
    freed = session.execute(
        update(events)
        .where(events.c.id == picked.c.id)
        .values(held_by=None, reason=f"resumed by {ended.resumed_by}", **dated(func.now()))
        .returning(events.c.id)
    )
    return len(freed.all())


def standing(session: Session) -> tuple[Pause, ...]:
    """Return the pauses in force, oldest first."""
    rows = session.execute(
        select(pauses).where(pauses.c.resumed_at.is_(None)).order_by(pauses.c.id)
    )
    return tuple(found for row in rows.mappings() if (found := _pause(row)))


def history(session: Session, *, limit: int) -> tuple[Pause, ...]:
    """Return pauses, ended ones too, the newest first."""
    rows = session.execute(select(pauses).order_by(pauses.c.id.desc()).limit(limit))
    return tuple(found for row in rows.mappings() if (found := _pause(row)))


def held_rows(session: Session, pause_ids: Collection[int]) -> dict[int, int]:
    """Return how many inbox rows each of these pauses holds."""
    counted = select(events.c.held_by, func.count()).where(events.c.held_by.in_(pause_ids))
    return {row[0]: row[1] for row in session.execute(counted.group_by(events.c.held_by))}


def of_writes(session: Session, organization_id: str | None) -> Pause | None:
    """Return the pause that keeps Stripe from being written to for the organization, or None.

    Without an organization: the pause of everything.
    """
    everything = pauses.c.scope == WRITES
    its_own = (pauses.c.scope == ORGANIZATION) & (pauses.c.value == organization_id)
    row = session.execute(
        select(pauses)
        .where(pauses.c.resumed_at.is_(None), or_(everything, its_own))
        .order_by(pauses.c.scope.desc())
        .limit(1)
    )
    return _pause(row.mappings().one_or_none())


def still_stands(session: Session, pause_id: int) -> bool:
    """Return whether the pause is in force, and keep it from ending until the transaction does."""
    found = select(pauses.c.id).where(pauses.c.id == pause_id, pauses.c.resumed_at.is_(None))
    return session.scalar(found.with_for_update(read=True)) is not None


# A row that a pause of writes holds stays held; one whose pause is over is let go.
_HOLD = """
with standing as materialized (
    select * from pauses where resumed_at is null for share
), picked as (
    select e.id, e.held_by, coalesce(
        (select s.id from standing as s
         where (s.scope = 'type' and s.value = e.type)
            or (s.scope = 'organization' and (
                s.value = e.organization_id
                or s.value = (select organization_id from subscriptions
                              where id = e.subscription_id)
                or e.customer_id = (select stripe_customer_id from organizations
                                    where id = s.value)))
         limit 1),
        (select s.id from standing as s where s.id = e.held_by)
    ) as pause_id
    from events as e
    where e.work_key = :work_key and e.state = 'pending'
      and (e.held_by is not null or (
          exists (select from standing)
          and (e.due_at <= now() + :lease or e.error_class is not null)))
    order by e.id collate "C"
    for update of e
)
update events set
    held_by = s.id,
    due_at = now() + make_interval(secs => case when s.id is null then 0 else :again_s end),
    wanted_at = null,
    reason = case when s.id is null then events.reason
        else concat_ws(' ', 'paused:', s.scope, nullif(s.value, ''), 'by', s.paused_by || ':',
                       s.because) end
from picked left join standing as s on s.id = picked.pause_id
where events.id = picked.id and (picked.pause_id is not null or picked.held_by is not null)
returning events.held_by
"""


# Nearly always no: then the statement above need not even be planned.
_ANYTHING = """
select exists (select from pauses where resumed_at is null) or exists (
    select from events where work_key = :work_key and state = 'pending' and held_by is not null)
"""


def hold(session: Session, work_key: str, *, lease: timedelta = timedelta()) -> int:
    """Hold the key's rows of a paused type or organization and return how many are held.

    Only those that `work.claim` would take with this lease: what was dated ahead keeps its date,
    and is held when that comes. The caller holds the key's lock. Costs next to nothing while
    nothing is paused.
    """
    if not session.scalar(text(_ANYTHING), {"work_key": work_key}):
        return 0
    told = {"work_key": work_key, "again_s": LOOK_AGAIN.total_seconds(), "lease": lease}
    found = session.scalars(text(_HOLD), told)
    return sum(held_by is not None for held_by in found)


def _pause(row: RowMapping | None) -> Pause | None:
    return None if row is None else Pause(**{name: row[name] for name in Pause.__slots__})
