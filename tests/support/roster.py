"""Organizations and members for tests, written straight into the tables, or as an import."""

import json
import tempfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from sqlalchemy import insert
from sqlalchemy.orm import Session

from reconcile.members.roster_import import import_files
from reconcile.services import Services
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


def import_members(
    services: Services,
    organization_id: str,
    names: Iterable[str],
    now: datetime,
    *,
    role: str,
    status: str,
) -> None:
    """Members of one role come or go with an import, on the seats of the role's own name."""
    named = {"organization_id": organization_id, "role": role, "seat_type": role}
    lines = [json.dumps(named | {"id": each, "status": status}) for each in names]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "members.jsonl"
        path.write_text("\n".join(lines), encoding="utf-8")
        import_files(services.sessions, services.catalog, [path], now=now)
