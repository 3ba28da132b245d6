"""Who may do what: the plan's roles decide, deed by deed."""

import pytest

from reconcile.policy.permits import Acting, Deed, decide_permit, unknown_asker
from reconcile.policy.values import PlanRules
from tests.policy.factories import AGENCY, COMMERCE, PRO

ANYBODYS_OWN = {Deed.ACCEPT, Deed.ACTIVATE, Deed.PAY}
ADMINS_DEEDS = set(Deed) - {Deed.CHANGE_ROLE, Deed.TRANSFER_ADMIN, Deed.TRANSFER_OWNERSHIP}


def may(
    rules: PlanRules, role: str, deed: Deed, about: str | None = "other", *, active: bool = True
) -> bool:
    asking = Acting(member_id="me", role=role, active=active)
    return decide_permit(rules, asking, deed, about) is None


@pytest.mark.parametrize("deed", Deed)
def test_the_host_application_has_decided_already(deed: Deed) -> None:
    assert decide_permit(COMMERCE, None, deed, "other") is None


@pytest.mark.parametrize("deed", sorted(ADMINS_DEEDS))
def test_an_admin_handles_invites_and_settings(deed: Deed) -> None:
    """A3: the workspace's one admin, and nobody else."""
    assert may(PRO, "admin", deed)
    assert not may(PRO, "member", deed)
    assert not may(PRO, "stranger", deed)
    assert not may(PRO, "admin", deed, active=False)


@pytest.mark.parametrize("deed", sorted(ANYBODYS_OWN))
def test_an_invitee_completes_their_own_signup(deed: Deed) -> None:
    """A2: also before being active, and for nobody else."""
    assert may(PRO, "member", deed, about="me", active=False)
    assert not may(PRO, "member", deed, about="other", active=False)


def test_nobody_lifts_themselves_up() -> None:
    for deed in set(Deed) - ANYBODYS_OWN:
        assert not may(AGENCY, "member", deed, about="me"), deed


@pytest.mark.parametrize(
    ("rules", "role", "allowed"),
    [
        (COMMERCE, "owner", True),
        (COMMERCE, "admin", False),
        (COMMERCE, "sales_rep", False),
        (AGENCY, "admin", True),
        (AGENCY, "member", False),
    ],
)
def test_who_changes_roles_is_the_plans_setting(rules: PlanRules, role: str, allowed: bool) -> None:
    """C6: only the owner, unless the plan lets admins do it."""
    assert may(rules, role, Deed.CHANGE_ROLE) is allowed


def test_whoever_holds_a_role_passes_it_on() -> None:
    """A3, C7: the owner the ownership, the admin the admin's role."""
    assert may(COMMERCE, "owner", Deed.TRANSFER_OWNERSHIP, about="me")
    assert not may(COMMERCE, "admin", Deed.TRANSFER_OWNERSHIP, about="me")
    assert not may(COMMERCE, "admin", Deed.TRANSFER_OWNERSHIP)
    assert may(PRO, "admin", Deed.TRANSFER_ADMIN, about="me")
    assert not may(AGENCY, "admin", Deed.TRANSFER_ADMIN, about="other")


def test_a_refusal_says_who_may() -> None:
    """C6."""
    asking = Acting(member_id="me", role="admin", active=True)
    refused = decide_permit(COMMERCE, asking, Deed.CHANGE_ROLE, "other")
    assert refused is not None
    assert (refused.code, refused.message) == ("not_allowed", "Only the owner changes roles")
    assert refused.remedies == ("ask the owner",)
    assert unknown_asker(Deed.INVITE).code == "not_allowed"
