"""Invites and their acceptance: checked twice, reserving nothing, doing nothing twice."""

from collections.abc import Iterator

import pytest

from reconcile.actor import Actor
from reconcile.members import membership
from reconcile.members.inviting import accept, invite
from reconcile.members.joining import Done, NoSuchOrganization, Outcome
from reconcile.policy.values import Refuse
from reconcile.services import Services
from reconcile.settings import Settings
from reconcile.store import audit, roster
from tests.support.roster import add_member, add_members, add_organization
from tests.support.services import running_services

HOST = Actor("token:host")


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    with running_services(settings) as built:
        yield built


@pytest.fixture
def growth(services: Services) -> Services:
    """A shop on Growth: an owner, an admin, and two of three sales reps."""
    with services.sessions.begin() as session:
        add_organization(session, "org_1", plan="commerce_growth")
        add_member(session, "org_1", "olga", role="owner", seat_type=None)
        add_member(session, "org_1", "adam", role="admin", seat_type="admin")
        add_members(session, "org_1", "sales_rep", role="sales_rep", active=2)
    return services


def as_rep(services: Services, member_id: str, by: str = "member:adam") -> Outcome:
    return invite(services, "org_1", member_id, role="sales_rep", actor=Actor(by))


def code(outcome: Outcome) -> str:
    assert isinstance(outcome, Refuse), outcome
    return outcome.code


def status(services: Services, member_id: str) -> str:
    with services.sessions() as session:
        found = roster.member(session, "org_1", member_id)
    assert found
    return f"{found.role}/{found.seat_type}/{found.status}"


def test_an_invite_reserves_nothing_and_is_checked_again(growth: Services) -> None:
    """C3: one seat is free; three are invited, and the full pool stops the next to accept."""
    for name in ("pia", "ray", "sue"):
        assert isinstance(as_rep(growth, name), Done)
    assert isinstance(accept(growth, "org_1", "pia", actor=Actor("member:pia")), Done)
    assert status(growth, "pia") == "sales_rep/sales_rep/pending"
    # A pending member holds no seat either (B12).
    assert isinstance(accept(growth, "org_1", "ray", actor=Actor("member:ray")), Done)
    with growth.sessions.begin() as session:
        add_member(session, "org_1", "tom", role="sales_rep", seat_type="sales_rep")
    full = accept(growth, "org_1", "sue", actor=Actor("member:sue"))
    assert isinstance(full, Refuse)
    assert (full.code, full.message) == ("seat_limit", "Sales Rep seat limit reached")
    assert full.remedies == ("remove a Sales Rep member", "upgrade the plan")
    assert code(as_rep(growth, "una")) == "seat_limit"
    assert status(growth, "sue") == "sales_rep/sales_rep/invited"


def test_asked_twice_it_is_done_once(growth: Services) -> None:
    as_rep(growth, "pia")
    assert as_rep(growth, "pia") == Done(line="invited already")
    assert code(invite(growth, "org_1", "pia", role="admin", actor=HOST)) == "already_invited"
    accept(growth, "org_1", "pia", actor=HOST)
    assert accept(growth, "org_1", "pia", actor=HOST) == Done(line="accepted already")
    assert code(as_rep(growth, "pia")) == "already_member"
    with growth.sessions() as session:
        entries = audit.page(session, subject="pia")
    assert [each.action for each in entries] == ["member.accepted", "member.invited"]
    assert entries[1].before is None
    assert entries[1].actor == "member:adam"


def test_who_was_removed_may_be_invited_again_as_something_else(growth: Services) -> None:
    """B14, C3: revoking frees nothing, and the way back is an invite."""
    as_rep(growth, "pia")
    revoked = membership.revoke(growth, "org_1", "pia", actor=HOST)
    assert revoked == Done(line="revoked; frees no seat")
    assert code(accept(growth, "org_1", "pia", actor=HOST)) == "removed"
    assert isinstance(invite(growth, "org_1", "pia", role="admin", actor=HOST), Done)
    assert status(growth, "pia") == "admin/admin/invited"
    assert code(membership.revoke(growth, "org_1", "adam", actor=HOST)) == "not_invited"


@pytest.mark.parametrize("who", ["member:sales_rep_sales_rep_active_0", "member:nobody"])
def test_only_admins_invite(growth: Services, who: str) -> None:
    """A3, B8: nor somebody who is no member at all."""
    assert code(as_rep(growth, "pia", by=who)) == "not_allowed"
    with growth.sessions() as session:
        assert roster.member(session, "org_1", "pia") is None


def test_a_member_accepts_for_themselves_and_no_other(growth: Services) -> None:
    as_rep(growth, "pia")
    as_rep(growth, "ray")
    assert code(accept(growth, "org_1", "pia", actor=Actor("member:ray"))) == "not_allowed"


def test_a_trial_is_refused_before_a_seat_is_counted(growth: Services) -> None:
    """C4: the pool is full as well, and it is not what is said."""
    with growth.sessions.begin() as session:
        add_organization(session, "org_2", plan="commerce_starter", trial=True)
        add_members(session, "org_2", "sales_rep", role="sales_rep", active=1)
    refused = invite(growth, "org_2", "pia", role="sales_rep", actor=HOST)
    assert isinstance(refused, Refuse)
    assert refused.code == "trial_invites_blocked"
    assert refused.message == "Sales Rep members cannot be added during the trial"


def test_an_individual_plan_has_nobody_to_invite(services: Services) -> None:
    """A1."""
    with services.sessions.begin() as session:
        add_organization(session, "org_1", plan="workspace_starter")
    assert isinstance(invite(services, "org_1", "ann", role="admin", actor=HOST), Done)
    with services.sessions.begin() as session:
        add_member(session, "org_1", "bea", role="admin", seat_type="pro")
    refused = invite(services, "org_1", "bob", role="admin", actor=HOST)
    assert isinstance(refused, Refuse)
    assert refused.message == "The plan is for one person: it has no seats to add"


def test_the_one_admin_of_a_workspace_invites_and_no_second_one(services: Services) -> None:
    """A2, A3: the invite is sent before anything is paid."""
    with services.sessions.begin() as session:
        add_organization(session, "org_1", plan="workspace_pro")
        add_member(session, "org_1", "ann", role="admin", seat_type="pro")
    ann = Actor("member:ann")
    done = invite(services, "org_1", "bob", role="member", actor=ann)
    assert done == Done(line="invited: the seat joins when it is paid")
    assert isinstance(accept(services, "org_1", "bob", actor=Actor("member:bob")), Done)
    assert code(invite(services, "org_1", "cy", role="admin", actor=ann)) == "single_admin"
    assert code(invite(services, "org_1", "cy", role="boss", actor=ann)) == "unknown_role"
    bob = Actor("member:bob")
    assert code(invite(services, "org_1", "cy", role="member", actor=bob)) == "not_allowed"


def test_an_organization_that_is_not_there(services: Services) -> None:
    with pytest.raises(NoSuchOrganization):
        invite(services, "org_9", "ann", role="admin", actor=HOST)
