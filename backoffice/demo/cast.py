"""Who plays: three organizations, one of each product, and how their people come in."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from backoffice.demo.host import Answer
from backoffice.demo.stage import Stage

IMPORT_S = 60


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a role and a kind of seat."""

    id: str
    role: str
    seat_type: str | None


@dataclass(frozen=True, slots=True)
class Company:
    """An organization of the story, with the people who are there when it begins."""

    id: str
    name: str
    plan: str
    about: str
    people: tuple[Person, ...]

    @property
    def path(self) -> str:
        """Its place in the API."""
        return f"/organizations/{self.id}"


WORKSPACE = Company(
    "lantern",
    "Lantern Workspace",
    "workspace_pro",
    "every member pays for a seat of their own, and the seats' credits pool",
    (Person("hal", "admin", "pro"), Person("ivy", "member", "pro")),
)
AGENCY = Company(
    "harbour",
    "Harbour Agency",
    "agency",
    "Base and Voice seats that an admin buys, never fewer than are in use",
    (
        Person("ada", "admin", "base"),
        Person("bo", "member", "base"),
        Person("cy", "member", "voice"),
        Person("di", "member", "voice"),
    ),
)
SHOP = Company(
    "kowhai",
    "Kowhai Commerce",
    "commerce_growth",
    "3 Admin and 3 Sales Rep seats come with the plan; the owner takes none",
    (
        Person("kim", "owner", None),
        Person("lou", "admin", "admin"),
        Person("mia", "admin", "admin"),
        Person("pia", "sales_rep", "sales_rep"),
    ),
)
COMPANIES = (WORKSPACE, AGENCY, SHOP)


def invite(stage: Stage, company: Company, person: Person, *, by: str | None = None) -> Answer:
    """Somebody is invited: by a member, or by the host application itself."""
    return stage.host.ask(
        f"{company.path}/members",
        by=by,
        id=person.id,
        role=person.role,
        seat_type=person.seat_type,
    )


def accept(stage: Stage, company: Company, person_id: str) -> Answer:
    """The invitee follows the link."""
    return stage.host.ask(f"{company.path}/members/{person_id}/accept", by=person_id)


def sign_in(stage: Stage, company: Company, person_id: str) -> Answer:
    """The invitee's first login: this is where a seat is needed."""
    return stage.host.ask(f"{company.path}/members/{person_id}/activate", by=person_id)


def arrives(stage: Stage, company: Company, *people: Person, by: str | None = None) -> None:
    """They are invited and accept the invite; nobody has signed in yet."""
    for person in people:
        for answer in (invite(stage, company, person, by=by), accept(stage, company, person.id)):
            if not answer.ok:
                stage.expect(f"{person.id} of {company.name} is invited", answer.said, "")


def enters(stage: Stage, company: Company, *person_ids: str) -> None:
    """They sign in one after the other, and are let in."""
    answers = [sign_in(stage, company, person_id) for person_id in person_ids]
    refused = [answer.said for answer in answers if not answer.ok]
    verb = "is" if len(person_ids) == 1 else "are"
    stage.expect(f"{', '.join(person_ids)} of {company.name} {verb} let in", refused, [])


def is_refused(stage: Stage, what: str, answer: Answer, code: str) -> None:
    """It is refused with this code; the audience hears why, and the ways out."""
    stage.expect(what, answer.code, code)
    stage.say(f'"{answer.said}": {answer.ways_out}')


def allow_auto_add(stage: Stage, company: Company, seat_type: str, ceiling: int) -> None:
    """An admin of the company switches Auto-Add on (B15)."""
    answer = stage.host.put(
        f"{company.path}/auto-add/{seat_type}", by="ada", enabled=True, ceiling_quantity=ceiling
    )
    if not answer.ok:
        stage.expect("Auto-Add is switched on", answer.said, "")


def join_by_import(stage: Stage, company: Company, people: Sequence[Person]) -> None:
    """The host application made them active by itself and says so with its next export."""
    path = stage.home / "members.jsonl"
    rows = [
        {
            "organization_id": company.id,
            "id": person.id,
            "role": person.role,
            "seat_type": person.seat_type,
            "status": "active",
        }
        for person in people
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    ended = subprocess.run(  # noqa: S603 - our own command
        (sys.executable, "-m", "backoffice", "import", str(path)),
        env=stage.env,
        capture_output=True,
        text=True,
        timeout=IMPORT_S,
        check=False,
    )
    stage.expect(f"trueup import brings {len(people)} members in", ended.returncode, 0)
