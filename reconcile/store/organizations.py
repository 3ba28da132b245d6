"""Organizations: added, changed and listed. Their roster's lock is `store.roster`'s."""

from dataclasses import fields

from sqlalchemy import RowMapping, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from reconcile.store.roster import Organization
from reconcile.tables import members, organizations, reviews

_COLUMNS = tuple(field.name for field in fields(Organization))
_RESTRICTED = exists().where(
    reviews.c.organization_id == organizations.c.id,
    reviews.c.restricted_at.is_not(None),
    reviews.c.closed_at.is_(None),
)


def add(session: Session, organization: Organization) -> bool:
    """Add it; returns False when there is one of this id.

    Raises IntegrityError when another organization has its Stripe customer.
    """
    added = session.execute(
        insert(organizations)
        .values({name: getattr(organization, name) for name in _COLUMNS})
        .on_conflict_do_nothing(index_elements=["id"])
        .returning(organizations.c.id)
    )
    return added.one_or_none() is not None


def write(session: Session, organization: Organization) -> None:
    """Write its name, plan, Stripe customer and trial.

    Raises IntegrityError when another organization has its Stripe customer.
    """
    values = {name: getattr(organization, name) for name in _COLUMNS if name != "id"}
    session.execute(
        update(organizations)
        .where(organizations.c.id == organization.id)
        .values(**values, updated_at=func.now())
    )


def page(  # noqa: PLR0913 - filters, all by name
    session: Session,
    *,
    only_id: str | None = None,
    plan: str | None = None,
    restricted: bool | None = None,
    after_id: str | None = None,
    limit: int = 50,
) -> tuple[Organization, ...]:
    """Return organizations in the order of their ids, at most `limit` after `after_id`."""
    wanted = select(organizations).order_by(organizations.c.id).limit(limit)
    if only_id is not None:
        wanted = wanted.where(organizations.c.id == only_id)
    if plan is not None:
        wanted = wanted.where(organizations.c.plan == plan)
    if restricted is not None:
        wanted = wanted.where(_RESTRICTED if restricted else ~_RESTRICTED)
    if after_id is not None:
        wanted = wanted.where(organizations.c.id > after_id)
    return tuple(_organization(row) for row in session.execute(wanted).mappings())


def roles_present(
    session: Session, organization_id: str
) -> tuple[tuple[str, str | None, int], ...]:
    """Return (role, seat type, how many) of everybody who was not removed."""
    counted = (
        select(members.c.role, members.c.seat_type, func.count())
        .where(members.c.organization_id == organization_id, members.c.status != "removed")
        .group_by(members.c.role, members.c.seat_type)
        .order_by(members.c.role, members.c.seat_type)
    )
    return tuple((row[0], row[1], row[2]) for row in session.execute(counted))


def _organization(row: RowMapping) -> Organization:
    return Organization(**{name: row[name] for name in _COLUMNS})
