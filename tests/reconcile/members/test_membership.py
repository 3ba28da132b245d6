"""Roles, pools and departures: each one operation under the lock, and never two at once."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconcile.actor import Actor
from reconcile.members import membership
from reconcile.members.joining import Done, NoSuchMember, Outcome
from reconcile.policy.values import Refuse
from reconcile.services import Services
from reconcile.settings import Settings
from reconcile.store import audit
from reconcile.store import roster as store
from reconcile.store.audit import AuditEntry
from tests.support.roster import add_member, add_members, add_organization
from tests.support.services import environment, running_services

ROOT = Path(__file__).parents[3]
HOST, OLGA = Actor("token:host"), Actor("member:olga", "tok_1", "a new season")


@pytest.fixture
def offline(make_settings: Callable[..., Settings], database_url: str) -> Settings:
    """Settings without a Stripe: nothing in here may ask it."""
    return make_settings(database_url=database_url)


@pytest.fixture
def services(offline: Settings) -> Iterator[Services]:
    with running_services(offline) as built:
        yield built


def shop(services: Services, **sales_reps: int) -> None:
    """A shop on Growth (3 and 3 included): an owner, one admin, and sales reps."""
    with services.sessions.begin() as session:
        add_organization(session, "org_1", plan="commerce_growth")
        add_member(session, "org_1", "olga", role="owner", seat_type=None)
        add_member(session, "org_1", "adam", role="admin", seat_type="admin")
        add_members(
            session, "org_1", "sales_rep", role="sales_rep", **(sales_reps or {"active": 1})
        )


def team(services: Services, *admins: str) -> None:
    """An agency whose members are all in the Base pool."""
    with services.sessions.begin() as session:
        add_organization(session, "org_1", plan="agency")
        for admin in admins:
            add_member(session, "org_1", admin, role="admin", seat_type="base")
        add_member(session, "org_1", "mia", role="member", seat_type="base")


def now(services: Services, member_id: str) -> tuple[str, str | None, str]:
    with services.sessions() as session:
        found = store.member(session, "org_1", member_id)
        assert found
        return found.role, found.seat_type, found.status


def code(outcome: Outcome) -> str:
    assert isinstance(outcome, Refuse), outcome
    return outcome.code


def told(services: Services) -> list[AuditEntry]:
    with services.sessions() as session:
        return list(audit.page(session, organization_id="org_1"))


REP = "sales_rep_sales_rep_active_0"


def test_only_the_owner_changes_roles(services: Services) -> None:
    shop(services)
    adam = Actor("member:adam")
    refused = membership.change_role(services, "org_1", REP, role="admin", actor=adam)
    assert code(refused) == "not_allowed"
    done = membership.change_role(services, "org_1", REP, role="admin", actor=OLGA)
    assert done == Done(line=f"{REP}: admin, admin seat")
    assert now(services, REP) == ("admin", "admin", "active")
    (change,) = told(services)
    assert (change.actor, change.token_id, change.because) == (
        "member:olga",
        "tok_1",
        "a new season",
    )
    assert (change.action, change.subject) == ("member.role_changed", REP)
    assert change.before == {"role": "sales_rep", "seat_type": "sales_rep", "status": "active"}
    assert change.after == {"role": "admin", "seat_type": "admin", "status": "active"}


def test_a_move_into_a_full_pool_is_refused_and_changes_nothing(services: Services) -> None:
    shop(services, active=3)
    refused = membership.change_role(services, "org_1", "adam", role="sales_rep", actor=OLGA)
    assert code(refused) == "seat_limit"
    assert now(services, "adam") == ("admin", "admin", "active")
    assert told(services) == []


def test_ownership_to_an_admin_fits_a_full_pool(services: Services) -> None:
    shop(services)
    with services.sessions.begin() as session:
        add_members(session, "org_1", "admin", role="admin", active=2)  # 3 of 3
    done = membership.transfer_ownership(services, "org_1", "olga", "adam", actor=HOST)
    assert isinstance(done, Done)
    assert now(services, "adam") == ("owner", None, "active")
    assert now(services, "olga") == ("admin", "admin", "active")
    refused = membership.transfer_ownership(services, "org_1", "adam", REP, actor=HOST)
    assert code(refused) == "seat_limit"
    assert now(services, "adam") == ("owner", None, "active")


def test_the_owner_cannot_leave_and_a_seat_is_freed_by_whoever_does(services: Services) -> None:
    """B14."""
    shop(services, active=3)
    assert code(membership.remove(services, "org_1", "olga", actor=HOST)) == "transfer_needed"
    assert isinstance(membership.remove(services, "org_1", REP, actor=HOST), Done)
    with services.sessions() as session:
        assert services.roster.counts(session, "org_1").of("sales_rep") == 2
    again = membership.remove(services, "org_1", REP, actor=HOST)
    assert again == Done(line="removed already")


def test_revoking_an_invite_frees_nothing(services: Services) -> None:
    shop(services, active=1, invited=1)
    invited = "sales_rep_sales_rep_invited_0"
    assert isinstance(membership.remove(services, "org_1", invited, actor=HOST), Done)
    with services.sessions() as session:
        assert services.roster.counts(session, "org_1").of("sales_rep") == 1


def test_blocking_brings_nobody_back_who_was_removed(services: Services) -> None:
    """What is blocked can be unblocked: the way back from a removal is an invite."""
    team(services, "ada")
    membership.remove(services, "org_1", "mia", actor=Actor("member:ada"))
    assert code(membership.block(services, "org_1", "mia", actor=Actor("member:ada"))) == "removed"
    assert now(services, "mia") == ("member", "base", "removed")


def test_at_least_one_active_admin_remains(services: Services) -> None:
    team(services, "ann", "bob")
    assert isinstance(membership.block(services, "org_1", "ann", actor=HOST), Done)
    assert code(membership.block(services, "org_1", "bob", actor=HOST)) == "last_admin"
    demote = membership.change_role(
        services, "org_1", "bob", role="member", actor=Actor("member:bob")
    )
    assert code(demote) == "last_admin"
    assert now(services, "bob") == ("admin", "base", "active")


def test_an_admin_hands_over_in_two_audited_steps(services: Services) -> None:
    """B9: the second is promoted, then the first steps down; in the other order it is refused."""
    team(services, "ann")
    ann, mia = Actor("member:ann"), Actor("member:mia")
    early = membership.change_role(services, "org_1", "ann", role="member", actor=ann)
    assert code(early) == "last_admin"
    promoted = membership.change_role(services, "org_1", "mia", role="admin", actor=ann)
    assert isinstance(promoted, Done)
    assert isinstance(membership.remove(services, "org_1", "ann", actor=mia), Done)
    assert now(services, "mia") == ("admin", "base", "active")
    with services.sessions() as session:
        second, first = audit.page(session, organization_id="org_1")
    assert [(e.actor, e.action, e.subject) for e in (first, second)] == [
        ("member:ann", "member.role_changed", "mia"),
        ("member:mia", "member.removed", "ann"),
    ]
    assert first.before == {"role": "member", "seat_type": "base", "status": "active"}
    assert first.after == {"role": "admin", "seat_type": "base", "status": "active"}


def test_one_admin_hands_over_in_one_operation(services: Services) -> None:
    with services.sessions.begin() as session:
        add_organization(session, "org_1", plan="workspace_pro")
        add_member(session, "org_1", "ann", role="admin", seat_type="pro")
        add_member(session, "org_1", "bob", role="member", seat_type="pro")
    promote = membership.change_role(
        services, "org_1", "bob", role="admin", actor=Actor("member:ann")
    )
    assert code(promote) == "single_admin"
    done = membership.transfer_admin(services, "org_1", "ann", "bob", actor=HOST)
    assert isinstance(done, Done)
    assert now(services, "ann") == ("member", "pro", "active")
    assert now(services, "bob") == ("admin", "pro", "active")


def test_somebody_who_is_not_there(services: Services) -> None:
    team(services, "ann")
    with pytest.raises(NoSuchMember, match="org_1/nobody"):
        membership.block(services, "org_1", "nobody", actor=HOST)
    with pytest.raises(NoSuchMember, match="org_2"):
        membership.block(services, "org_2", "ann", actor=HOST)


DEMOTE = """
import sys
from reconcile.actor import Actor
from reconcile.actor import Actor
from reconcile.members import membership
from reconcile.members.joining import Done
from reconcile.settings import Settings
from tests.support.services import running_services
with running_services(Settings()) as ready:
    print("ready", flush=True); sys.stdin.readline()
    for pair in sys.argv[1:]:
        org, by, member = pair.split("/")
        membership.change_role(ready, org, member, role="member", actor=Actor("member:" + by))
"""


def test_two_admins_demoting_each_other_leave_one_fifty_times_over(
    services: Services, offline: Settings
) -> None:
    """B8."""
    rounds = 50
    with services.sessions.begin() as session:
        for number in range(rounds):
            add_organization(session, f"org_{number}", plan="agency")
            for admin in ("ann", "bob"):
                add_member(session, f"org_{number}", admin, role="admin", seat_type="base")

    def racing(by: str, member: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", DEMOTE, *(f"org_{n}/{by}/{member}" for n in range(rounds))],
            env=os.environ | environment(offline),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        return process

    both = racing("ann", "bob"), racing("bob", "ann")
    for process in both:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with services.sessions() as session:
        admins = [
            store.active_roles(session, f"org_{number}").get("admin", 0) for number in range(rounds)
        ]
    assert admins == [1] * rounds
