"""How a member row is changed: under the organization's lock, and with a word about who did it.

Used by everything that changes a member, whether a seat is bought for it or not. The rows are our
own; where the host's view is the roster, members are changed there.
"""

from dataclasses import dataclass, replace

import structlog
from sqlalchemy.orm import Session

from reconcile.errors import Permanent, WaitingForRow
from reconcile.members.room import room_for, seat_taken
from reconcile.members.roster_import import ROSTER_CHANGED
from reconcile.policy.activation import ActivationFacts
from reconcile.policy.values import Refuse
from reconcile.services import Services
from reconcile.store import roster as roster_store
from reconcile.store.inbox import add_request
from reconcile.store.roster import Member, Organization

log = structlog.get_logger()

REMOVED = Refuse(code="removed", message="The member was removed", remedies=("invite them again",))


class RosterIsTheHosts(Permanent):
    """Members are counted from the host's view, so they are changed there."""


class NoSuchMember(WaitingForRow):
    """The organization has no such member, or is not imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What was done, in one line for a person."""

    line: str


Outcome = Done | Refuse


def locked(
    session: Session, services: Services, organization_id: str, member_id: str
) -> tuple[Organization, Member]:
    """Lock the organization and return it with its member.

    Raises RosterIsTheHosts, and NoSuchMember.
    """
    if services.roster.view is not None:
        raise RosterIsTheHosts(services.roster.view.name)
    roster_store.lock_organization(session, organization_id)
    organization = roster_store.organization(session, organization_id)
    member = roster_store.member(session, organization_id, member_id)
    if organization is None or member is None:
        raise NoSuchMember(f"{organization_id}/{member_id}")
    return organization, member


def room_of(
    session: Session, services: Services, organization: Organization, member: Member
) -> ActivationFacts:
    """Return the facts of the member's activation."""
    takes = seat_taken(services.catalog.plan(organization.plan).rules, member)
    return room_for(session, services, organization, takes=takes, member_id=member.id)


def unfit(
    session: Session, services: Services, organization: Organization, member: Member
) -> Outcome | None:
    """Return why there is nothing to check, if there is nothing: the state of the member's row."""
    rules = services.catalog.plan(organization.plan).rules
    role = rules.roles.get(member.role)
    if member.status == "active":
        return Done(line="active already")
    if member.status == "removed":
        return REMOVED
    if role is None or (role.seat_types and member.seat_type not in role.seat_types):
        return Refuse(
            code="seat_type_not_allowed",
            message=f"The role {member.role} takes no seat of the type {member.seat_type}",
            remedies=("choose the role and the seat type first",),
        )
    present = roster_store.active_roles(session, member.organization_id)
    admins = sum(present.get(name, 0) for name, each in rules.roles.items() if each.is_admin)
    if role.is_owner and present.get(role.role, 0):
        return Refuse(
            code="transfer_needed",
            message="There is an owner already",
            remedies=("transfer the ownership",),
        )
    if rules.single_admin and role.is_admin and admins:
        return Refuse(
            code="single_admin",
            message="The plan has exactly one admin, changed in one step",
            remedies=("transfer the admin role",),
        )
    return None


def join(session: Session, services: Services, member: Member, reason: str, actor: str) -> Done:
    """Write the member active; the seats are looked at in the same transaction's request."""
    roster_store.write_member(session, replace(member, status="active"))
    tell_change(session, services, member.organization_id, "activated", member.id, actor)
    log.info("activated", organization=member.organization_id, member=member.id, reason=reason)
    return Done(line=f"active: {reason}")


def tell_change(  # noqa: PLR0913, PLR0917 - who did what to whom
    session: Session,
    services: Services,
    organization_id: str,
    what: str,
    member_id: str,
    actor: str,
    **detail: object,
) -> None:
    """Record the change as an inbox request: the audit, and the work it asks for."""
    payload = {"organization": organization_id, "what": what, "member": member_id, "actor": actor}
    add_request(
        session,
        type=ROSTER_CHANGED,
        work_key=f"org:{organization_id}",
        payload=payload | detail,
        due_at=services.clock(),
    )
