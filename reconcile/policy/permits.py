"""Who may do what: the plan's roles decide, for every deed of the API (A3, B8, C6, C7).

Whether the deed itself is possible (room, money, the last admin) is decided elsewhere, after this.
Nobody named is the host application itself: it has decided already, and is audited as itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from reconcile.policy.values import PlanRules, Refuse, RoleRules


class Deed(StrEnum):
    """What a member may ask for, in the words of a refusal: "only an admin ..."."""

    INVITE = "invites members"
    REVOKE = "revokes invites"
    ACCEPT = "accepts an invite for others"
    ACTIVATE = "activates others"
    PAY = "pays for the seats of others"
    BLOCK = "blocks members"
    UNBLOCK = "unblocks members"
    REMOVE = "removes members"
    CHANGE_ROLE = "changes roles"
    CHANGE_SEAT_TYPE = "moves members between seat types"
    TRANSFER_ADMIN = "passes on the admin's role"
    TRANSFER_OWNERSHIP = "passes on the ownership"
    CHANGE_SEATS = "changes seats"
    CHANGE_INTERVAL = "changes how often it is billed"
    SET_AUTO_ADD = "changes Auto-Add Seats"
    OPEN_PORTAL = "opens the billing portal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Acting:
    """The member who asks. `role` is one of the plan's, or a name it does not know."""

    member_id: str
    role: str
    active: bool


_Allowed = Callable[[RoleRules, bool], bool]

# Whether a role may do it, given whether it is done to the asker's own membership.
_TO_ONESELF = frozenset({Deed.ACCEPT, Deed.ACTIVATE, Deed.PAY})
_BY_ROLE: dict[Deed, _Allowed] = {
    Deed.CHANGE_ROLE: lambda role, _: role.changes_roles,
    Deed.TRANSFER_ADMIN: lambda role, own: role.is_owner or (role.is_admin and own),
    Deed.TRANSFER_OWNERSHIP: lambda role, own: role.is_owner and own,
}


def decide_permit(
    rules: PlanRules, acting: Acting | None, deed: Deed, about: str | None = None
) -> Refuse | None:
    """Return why this member may not do it, or None. `about`: whose membership it is done to.

    For a transfer that is the one who gives up the role. `acting` None is the host application.
    """
    if acting is None:
        return None
    own = acting.member_id == about
    if deed in _TO_ONESELF and own:
        # The plan's check of the seat follows; an invited member is not active yet.
        return None
    role = rules.roles.get(acting.role, RoleRules(role=acting.role))
    allowed = _BY_ROLE.get(deed, _admins)
    if acting.active and allowed(role, own):
        return None
    who = _who(rules, allowed)
    return Refuse(
        code="not_allowed",
        message=f"Only {who} {deed}" if acting.active else f"Only an active member {deed}",
        remedies=(f"ask {who}",),
    )


def unknown_asker(deed: Deed) -> Refuse:
    """Return the refusal of somebody who is no member of the organization."""
    return Refuse(
        code="not_allowed",
        message=f"Only an active member {deed}",
        remedies=("name an active member of the organization",),
    )


def _admins(role: RoleRules, own: bool) -> bool:
    del own
    return role.is_admin or role.is_owner


def _who(rules: PlanRules, allowed: _Allowed) -> str:
    """Return who would be allowed, in the words of the plan: `the owner or the admin`."""
    names = [role.role for role in rules.roles.values() if allowed(role, True)]
    return " or ".join(f"the {name.replace('_', ' ')}" for name in names) or "the seller's staff"
