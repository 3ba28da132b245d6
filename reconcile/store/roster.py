"""Organizations, members and auto-add settings: the rows, their lock, and the active counts.

Whoever checks a count and then writes a member, or lowers a quantity, does both under
`lock_organization` in one transaction. No rule is decided in here.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import RowMapping, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from reconcile.database import lock_in_transaction
from reconcile.tables import auto_add, members, organizations

# The request that follows a change of the roster: who counts, and on what plan, is looked at again.
ROSTER_CHANGED = "trueup.roster.changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """A customer of the SaaS product."""

    id: str
    name: str
    plan: str
    stripe_customer_id: str | None
    trial: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A person in an organization."""

    organization_id: str
    id: str
    role: str
    seat_type: str | None
    status: str
    email: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoAdd:
    """B15, for one seat type: whether seats are added on demand, and how far."""

    seat_type: str
    enabled: bool
    ceiling_quantity: int | None
    ceiling_minor: int | None


def lock_organization(session: Session, organization_id: str) -> None:
    """Hold the organization's roster until the transaction ends.

    Not the lock a worker holds while it works off `org:<id>`: that one spans Stripe calls, and
    the worker itself would wait here for it. The table lock is the one a write of a member takes
    anyway; taken before the counts are read, no import changes them in between.
    """
    lock_in_transaction(session, f"members:{organization_id}")
    session.execute(text("lock table members in row exclusive mode"))


def lock_roster(session: Session) -> None:
    """Keep every change of a member out until the transaction ends; for an import's short merge."""
    session.execute(text("lock table members in share row exclusive mode"))


def organization(session: Session, organization_id: str) -> Organization | None:
    """Return the organization, or None when it was never imported."""
    found = session.execute(select(organizations).where(organizations.c.id == organization_id))
    return _organization(found.mappings().one_or_none())


def organization_of_customer(session: Session, customer_id: str) -> Organization | None:
    """Return the organization that pays as this Stripe customer, or None."""
    of_customer = organizations.c.stripe_customer_id == customer_id
    found = session.execute(select(organizations).where(of_customer))
    return _organization(found.mappings().one_or_none())


def _organization(row: RowMapping | None) -> Organization | None:
    if row is None:
        return None
    return Organization(**{name: row[name] for name in Organization.__slots__})


def member(session: Session, organization_id: str, member_id: str) -> Member | None:
    """Return the member, or None when there is none of this id in the organization."""
    this = (members.c.organization_id == organization_id, members.c.id == member_id)
    row = session.execute(select(members).where(*this)).mappings().one_or_none()
    if row is None:
        return None
    return Member(**{name: row[name] for name in Member.__slots__})


def members_page(  # noqa: PLR0913 - filters, all by name
    session: Session,
    organization_id: str,
    *,
    status: str | None = None,
    role: str | None = None,
    seat_type: str | None = None,
    after_id: str | None = None,
    limit: int = 50,
) -> tuple[Member, ...]:
    """Return members in the order of their ids, at most `limit` after `after_id`."""
    wanted = select(members).where(members.c.organization_id == organization_id)
    for name, value in (("status", status), ("role", role), ("seat_type", seat_type)):
        if value is not None:
            wanted = wanted.where(members.c[name] == value)
    if after_id is not None:
        wanted = wanted.where(members.c.id > after_id)
    rows = session.execute(wanted.order_by(members.c.id).limit(limit)).mappings()
    return tuple(Member(**{name: row[name] for name in Member.__slots__}) for row in rows)


def add_member(session: Session, added: Member) -> None:
    """Add a member who is new to the organization."""
    values = {name: getattr(added, name) for name in Member.__slots__}
    session.execute(insert(members).values(updated_at=func.now(), **values))


def write_member(session: Session, changed: Member) -> None:
    """Write the role, seat type, status and address of a member that exists."""
    session.execute(
        update(members)
        .where(members.c.organization_id == changed.organization_id, members.c.id == changed.id)
        .values(
            role=changed.role,
            seat_type=changed.seat_type,
            status=changed.status,
            email=changed.email,
            updated_at=func.now(),
        )
    )


def active_counts(
    session: Session, organization_id: str, *, seatless_roles: Collection[str]
) -> dict[str, int]:
    """Return the active members by the seat type they hold (B12: no other status counts).

    Members of a role that takes no seat are left out, whatever their row says (C2).
    """
    counted = select(members.c.seat_type, func.count()).where(
        members.c.organization_id == organization_id,
        members.c.status == "active",
        members.c.seat_type.is_not(None),
        members.c.role.not_in(seatless_roles),
    )
    return {row[0]: row[1] for row in session.execute(counted.group_by(members.c.seat_type))}


def active_roles(session: Session, organization_id: str) -> dict[str, int]:
    """Return the active members by role."""
    counted = (
        select(members.c.role, func.count())
        .where(members.c.organization_id == organization_id, members.c.status == "active")
        .group_by(members.c.role)
    )
    return {row[0]: row[1] for row in session.execute(counted)}


def auto_add_settings(session: Session, organization_id: str) -> dict[str, AutoAdd]:
    """Return the organization's auto-add settings by seat type; a missing one is off."""
    rows = session.execute(select(auto_add).where(auto_add.c.organization_id == organization_id))
    return {
        row.seat_type: AutoAdd(
            seat_type=row.seat_type,
            enabled=row.enabled,
            ceiling_quantity=row.ceiling_quantity,
            ceiling_minor=row.ceiling_minor,
        )
        for row in rows
    }


def write_auto_add(session: Session, organization_id: str, wanted: Sequence[AutoAdd]) -> None:
    """Set these auto-add settings; other seat types keep theirs."""
    for one in wanted:
        values = {name: getattr(one, name) for name in AutoAdd.__slots__}
        session.execute(
            insert(auto_add)
            .values(organization_id=organization_id, updated_at=func.now(), **values)
            .on_conflict_do_update(
                index_elements=["organization_id", "seat_type"],
                set_={**values, "updated_at": func.now()},
            )
        )
