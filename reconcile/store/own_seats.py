"""Which members are active, one by one: a plan of own seats is judged member by member (A2)."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from reconcile.tables import members


def active_members(session: Session, organization_id: str) -> frozenset[str]:
    """Return the ids of the organization's active members who hold a seat type."""
    found = session.scalars(
        select(members.c.id).where(
            members.c.organization_id == organization_id,
            members.c.status == "active",
            members.c.seat_type.is_not(None),
        )
    )
    return frozenset(found)


def is_active(session: Session, organization_id: str, member_id: str) -> bool:
    """Return whether this member is active."""
    status = session.scalar(
        select(members.c.status).where(
            members.c.organization_id == organization_id, members.c.id == member_id
        )
    )
    return status == "active"
