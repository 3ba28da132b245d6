"""Organizations and members for tests, written straight into the tables."""

from sqlalchemy import insert
from sqlalchemy.orm import Session

from reconcile.tables import members, organizations


def add_organization(
    session: Session,
    organization_id: str,
    *,
    plan: str = "agency",
    customer_id: str | None = None,
    trial: bool = False,
) -> None:
    """Add an organization."""
    session.execute(
        insert(organizations).values(
            id=organization_id,
            name=f"Organization {organization_id}",
            plan=plan,
            stripe_customer_id=customer_id,
            trial=trial,
        )
    )


def add_member(
    session: Session,
    organization_id: str,
    member_id: str,
    *,
    role: str = "member",
    seat_type: str | None = "voice",
    status: str = "active",
) -> None:
    """Add one member."""
    session.execute(
        insert(members).values(
            organization_id=organization_id,
            id=member_id,
            role=role,
            seat_type=seat_type,
            status=status,
        )
    )


def add_members(
    session: Session,
    organization_id: str,
    seat_type: str | None,
    *,
    role: str = "member",
    **by_status: int,
) -> None:
    """Add so many members of each status; their ids are `<role>_<seat type>_<status>_<n>`."""
    for status, count in by_status.items():
        for number in range(count):
            member_id = f"{role}_{seat_type}_{status}_{number}"
            add_member(
                session, organization_id, member_id, role=role, seat_type=seat_type, status=status
            )
