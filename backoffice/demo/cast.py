"""Who plays: three organizations, one of each product, and how they come into the roster."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backoffice.demo.stage import Stage
from reconcile.members.roster_import import import_files
from reconcile.store import roster


@dataclass(frozen=True, slots=True)
class Person:
    """A member before the story begins."""

    id: str
    role: str
    seat_type: str | None
    status: str = "active"


@dataclass(frozen=True, slots=True)
class Company:
    """An organization of the story."""

    id: str
    name: str
    plan: str
    members: tuple[Person, ...]


AGENCY = Company(
    "harbour",
    "Harbour Agency",
    "agency",
    (
        Person("ada", "admin", "base"),
        Person("bo", "member", "base"),
        Person("cy", "member", "voice"),
        Person("di", "member", "voice"),
        Person("eve", "member", "voice", "invited"),
        Person("flo", "member", "voice", "invited"),
        Person("gus", "member", "voice", "invited"),
        Person("zoe", "member", "voice", "invited"),
        Person("yan", "member", "voice", "invited"),
        Person("xia", "member", "voice", "invited"),
        Person("wes", "member", "voice", "invited"),
    ),
)
WORKSPACE = Company(
    "lantern",
    "Lantern Workspace",
    "workspace_pro",
    (
        Person("hal", "admin", "pro"),
        Person("ivy", "member", "pro"),
        Person("jon", "member", "pro", "pending"),
    ),
)
SHOP = Company(
    "kowhai",
    "Kowhai Commerce",
    "commerce_growth",
    (
        Person("kim", "owner", None),
        Person("lou", "admin", "admin"),
        Person("mia", "admin", "admin"),
        Person("ned", "admin", "admin", "invited"),
        Person("oli", "admin", "admin", "invited"),
        Person("pia", "sales_rep", "sales_rep"),
    ),
)
COMPANIES = (AGENCY, WORKSPACE, SHOP)


def enter(stage: Stage) -> None:
    """Import everybody from files, as the host application would export them."""
    organizations = stage.home / "organizations.jsonl"
    _write(
        organizations,
        [
            {
                "id": company.id,
                "name": company.name,
                "plan": company.plan,
                "stripe_customer_id": stage.customers[company.id],
            }
            for company in COMPANIES
        ],
    )
    everybody = [(company, person) for company in COMPANIES for person in company.members]
    _import(stage, organizations, _members(stage, everybody))


def join_by_import(stage: Stage, company: Company, people: Sequence[Person]) -> None:
    """The host application made them active by itself and says so with its next export."""
    _import(stage, _members(stage, [(company, person) for person in people]))


def allow_auto_add(stage: Stage, company: Company, seat_type: str, ceiling: int) -> None:
    """An admin of the company switches Auto-Add on (B15)."""
    wanted = roster.AutoAdd(
        seat_type=seat_type, enabled=True, ceiling_quantity=ceiling, ceiling_minor=None
    )
    with stage.services.sessions.begin() as session:
        roster.write_auto_add(session, company.id, [wanted])


def _members(stage: Stage, people: Sequence[tuple[Company, Person]]) -> Path:
    path = stage.home / "members.jsonl"
    _write(
        path,
        [
            {
                "organization_id": company.id,
                "id": person.id,
                "role": person.role,
                "seat_type": person.seat_type,
                "status": person.status,
            }
            for company, person in people
        ],
    )
    return path


def _import(stage: Stage, *files: Path) -> None:
    imported = import_files(
        stage.services.sessions, stage.services.catalog, files, now=stage.services.clock()
    )
    members = imported.members.added + imported.members.changed
    stage.say(f"imported {imported.organizations.added} organizations, {members} members")


def _write(path: Path, rows: list[dict[str, str | None]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
