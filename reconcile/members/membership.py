"""Members leave, change roles and pools, and pass on what only one may hold.

Each is one operation under the organization's lock, and says in the inbox who did it. None of them
buys anything: a move needs room where it goes (B6), a departure frees the seat and keeps the
quantity (B14). Who may do what is `policy.roles`'.
"""

from collections.abc import Callable
from dataclasses import replace

import structlog
from sqlalchemy.orm import Session

from reconcile.members.joining import REMOVED, Done, NoSuchMember, Outcome, locked, tell_change
from reconcile.members.room import room_for
from reconcile.policy.activation import decide_activation
from reconcile.policy.roles import (
    MemberFacts,
    Reassign,
    WantedRole,
    decide_admin_transfer,
    decide_departure,
    decide_ownership_transfer,
    decide_role_change,
    decide_seat_move,
)
from reconcile.policy.values import PlanRules, Refuse
from reconcile.services import Services
from reconcile.store import roster as roster_store
from reconcile.store.roster import Member, Organization

log = structlog.get_logger()

Transfer = Callable[[PlanRules, MemberFacts, MemberFacts], Reassign | Refuse]


def block(services: Services, organization_id: str, member_id: str, *, actor: str) -> Outcome:
    """Block a member; the way back is an activation and is checked like one (B12)."""
    return _leave(services, organization_id, member_id, "blocked", actor)


def remove(services: Services, organization_id: str, member_id: str, *, actor: str) -> Outcome:
    """Remove a member or revoke an invite (which frees nothing, C3)."""
    return _leave(services, organization_id, member_id, "removed", actor)


def _leave(
    services: Services, organization_id: str, member_id: str, status: str, actor: str
) -> Outcome:
    with services.sessions.begin() as session:
        organization, member = locked(session, services, organization_id, member_id)
        if member.status == status:
            return Done(line=f"{status} already")
        if member.status == "removed":
            return REMOVED
        rules = services.catalog.plan(organization.plan).rules
        refused = decide_departure(
            rules, _facts(member), other_active_admins=_other_admins(session, rules, member)
        )
        if refused:
            return refused
        roster_store.write_member(session, replace(member, status=status))
        tell_change(session, services, organization_id, status, member_id, actor)
    log.info(status, organization=organization_id, member=member_id)
    return Done(line=f"{status}; the seat is free, the quantity stays")


def change_role(  # noqa: PLR0913 - who changes what of whom, all by name
    services: Services,
    organization_id: str,
    member_id: str,
    *,
    role: str,
    seat_type: str | None = None,
    by: str | None = None,
    actor: str,
) -> Outcome:
    """Change a member's role, and with it the pool (C6, B8).

    `by` is the member who asks, whose own role decides; None for staff.
    """
    with services.sessions.begin() as session:
        organization, member = locked(session, services, organization_id, member_id)
        rules = services.catalog.plan(organization.plan).rules
        asker = roster_store.member(session, organization_id, by) if by is not None else None
        if by is not None and (asker is None or asker.status != "active"):
            return Refuse(code="not_allowed", message="Only an active member changes roles")
        decided = decide_role_change(
            rules,
            _facts(member),
            WantedRole(role=role, by_role=asker.role if asker else None, seat_type=seat_type),
            other_active_admins=_other_admins(session, rules, member),
        )
        return _reassign(session, services, organization, decided, "role", actor)


def move_seat(
    services: Services, organization_id: str, member_id: str, *, seat_type: str, actor: str
) -> Outcome:
    """Move a member to another pool; it needs room there and writes nothing to Stripe (B6)."""
    with services.sessions.begin() as session:
        organization, member = locked(session, services, organization_id, member_id)
        rules = services.catalog.plan(organization.plan).rules
        decided = decide_seat_move(rules, _facts(member), seat_type)
        return _reassign(session, services, organization, decided, "seat type", actor)


def transfer_admin(
    services: Services, organization_id: str, admin_id: str, successor_id: str, *, actor: str
) -> Outcome:
    """Exchange the one admin for another member, in one operation (A3)."""
    return _transfer(
        services, organization_id, admin_id, successor_id, decide_admin_transfer, actor
    )


def transfer_ownership(
    services: Services, organization_id: str, owner_id: str, successor_id: str, *, actor: str
) -> Outcome:
    """Pass on the ownership; the old owner steps down to admin (C7)."""
    return _transfer(
        services, organization_id, owner_id, successor_id, decide_ownership_transfer, actor
    )


def _transfer(  # noqa: PLR0913, PLR0917 - who passes what on to whom
    services: Services,
    organization_id: str,
    first_id: str,
    successor_id: str,
    decide: Transfer,
    actor: str,
) -> Outcome:
    with services.sessions.begin() as session:
        organization, first = locked(session, services, organization_id, first_id)
        successor = roster_store.member(session, organization_id, successor_id)
        if successor is None:
            raise NoSuchMember(f"{organization_id}/{successor_id}")
        rules = services.catalog.plan(organization.plan).rules
        decided = decide(rules, _facts(first), _facts(successor))
        return _reassign(session, services, organization, decided, "transfer", actor)


def _reassign(  # noqa: PLR0913, PLR0917 - one operation, checked and written
    session: Session,
    services: Services,
    organization: Organization,
    decided: Reassign | Refuse,
    what: str,
    actor: str,
) -> Outcome:
    """Check that the pool which takes a seat has room, then write every member it changes."""
    if isinstance(decided, Refuse):
        return decided
    if decided.takes and decided.takes != decided.frees:
        room = room_for(
            session,
            services,
            organization,
            takes=decided.takes,
            frees=decided.frees,
            member_id=decided.assignments[0].member_id,
            may_raise=False,
        )
        refused = decide_activation(room)
        if isinstance(refused, Refuse):
            return refused
    lines = []
    for assigned in decided.assignments:
        member = roster_store.member(session, organization.id, assigned.member_id)
        assert member is not None, "locked, so still there"
        changed = replace(member, role=assigned.role, seat_type=assigned.seat_type)
        roster_store.write_member(session, changed)
        before = {"role": member.role, "seat_type": member.seat_type}
        after = {"role": changed.role, "seat_type": changed.seat_type}
        detail = {"before": before, "after": after}
        tell_change(session, services, organization.id, what, member.id, actor, **detail)
        lines.append(f"{member.id}: {changed.role}, {changed.seat_type or 'no'} seat")
    log.info("reassigned", organization=organization.id, what=what, now=lines)
    return Done(line="; ".join(lines))


def _facts(member: Member) -> MemberFacts:
    return MemberFacts(
        member_id=member.id,
        role=member.role,
        seat_type=member.seat_type,
        active=member.status == "active",
    )


def _other_admins(session: Session, rules: PlanRules, member: Member) -> int:
    """Count the active admins beside this member (B8); only right under the lock."""
    present = roster_store.active_roles(session, member.organization_id)
    admins = sum(present.get(name, 0) for name, role in rules.roles.items() if role.is_admin)
    is_one = member.status == "active" and rules.roles.get(member.role)
    return admins - (1 if is_one and is_one.is_admin else 0)
