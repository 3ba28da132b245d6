"""Members leave, change roles and pools, and pass on what only one may hold.

Each is one operation under the organization's lock, and is audited in its transaction. None of
them buys anything: a move needs room where it goes (B6), a departure frees the seat and keeps the
quantity (B14). Who may ask is `policy.permits`', what may be is `policy.roles`'.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from reconcile.actor import Actor
from reconcile.members.joining import REMOVED, Case, Done, Outcome, opened
from reconcile.members.room import pool_subscription, room_for
from reconcile.members.telling import tell_refused
from reconcile.policy.activation import decide_activation
from reconcile.policy.permits import Deed
from reconcile.policy.roles import (
    MemberFacts,
    Reassign,
    WantedRole,
    active_admins,
    decide_admin_transfer,
    decide_departure,
    decide_ownership_transfer,
    decide_role_change,
    decide_seat_move,
    decide_swap,
)
from reconcile.policy.values import PlanRules, Refuse
from reconcile.services import Services
from reconcile.store import adjustments
from reconcile.store.roster import Member


def block(services: Services, organization_id: str, member_id: str, *, actor: Actor) -> Outcome:
    """Block a member; the way back is an activation and is checked like one (B12)."""
    with services.sessions.begin() as session:
        case = opened(session, services, organization_id, actor)
        return _leave(case, case.need(member_id), "blocked", Deed.BLOCK)


def remove(services: Services, organization_id: str, member_id: str, *, actor: Actor) -> Outcome:
    """Remove a member: the seat is free, the quantity stays (B14)."""
    with services.sessions.begin() as session:
        case = opened(session, services, organization_id, actor)
        return _leave(case, case.need(member_id), "removed", Deed.REMOVE)


def revoke(services: Services, organization_id: str, member_id: str, *, actor: Actor) -> Outcome:
    """Revoke an invite, accepted or not; it reserved nothing, so it frees nothing (C3)."""
    with services.sessions.begin() as session:
        case = opened(session, services, organization_id, actor)
        member = case.need(member_id)
        if member.status in {"active", "blocked"}:
            return Refuse(
                code="not_invited",
                message="The member has joined already: there is no invite to revoke",
                remedies=("remove the member",),
            )
        return _leave(case, member, "removed", Deed.REVOKE)


def _leave(case: Case, member: Member, status: str, deed: Deed) -> Outcome:
    if refused := case.refuse_unpermitted(deed, member.id):
        return refused
    if member.status == status:
        return Done(line=f"{status} already")
    if member.status == "removed":
        return REMOVED
    refused = decide_departure(
        case.rules, _facts(member), other_active_admins=_other_admins(case, member)
    )
    if refused:
        return refused
    action = "revoked" if deed is Deed.REVOKE else status
    case.write(f"member.{action}", member, replace(member, status=status))
    freed = "the seat is free, the quantity stays" if member.status == "active" else "frees no seat"
    return Done(line=f"{action}; {freed}")


def change_role(  # noqa: PLR0913 - who changes what of whom, all by name
    services: Services,
    organization_id: str,
    member_id: str,
    *,
    role: str,
    seat_type: str | None = None,
    actor: Actor,
) -> Outcome:
    """Change a member's role, and with it the pool (C6, B8)."""
    with services.sessions.begin() as session:
        case = opened(session, services, organization_id, actor)
        member = case.need(member_id)
        if refused := case.refuse_unpermitted(Deed.CHANGE_ROLE, member_id) or _gone(member):
            return refused
        decided = decide_role_change(
            case.rules,
            _facts(member),
            WantedRole(role=role, seat_type=seat_type),
            other_active_admins=_other_admins(case, member),
        )
        return _reassign(case, decided, "member.role_changed")


def move_seat(
    services: Services, organization_id: str, member_id: str, *, seat_type: str, actor: Actor
) -> Outcome:
    """Move a member to another pool; it needs room there and writes nothing to Stripe (B6)."""
    with services.sessions.begin() as session:
        case = opened(session, services, organization_id, actor)
        member = case.need(member_id)
        if refused := case.refuse_unpermitted(Deed.CHANGE_SEAT_TYPE, member_id) or _gone(member):
            return refused
        decided = decide_seat_move(case.rules, _facts(member), seat_type)
        return _reassign(case, decided, "member.seat_type_changed")


def swap_seats(  # noqa: PLR0913 - who swaps what with whom, all by name
    services: Services,
    organization_id: str,
    member_id: str,
    other_id: str,
    *,
    seat_type: str,
    actor: Actor,
) -> Outcome:
    """Give a member the other's seat of `seat_type` and the other theirs, in one operation.

    Net zero, so it fits full pools. Asked again when it is done, it does nothing.
    """
    with services.sessions.begin() as session:
        case = opened(session, services, organization_id, actor)
        first, second = case.need(member_id), case.need(other_id)
        if refused := case.refuse_unpermitted(Deed.CHANGE_SEAT_TYPE):
            return refused
        if first.status == "active" and first.seat_type == seat_type:
            return Done(line=f"{first.id} has a seat of this type already")
        decided = decide_swap(case.rules, _facts(first), _facts(second), seat_type)
        return _reassign(case, decided, "member.seat_swapped")


def transfer_admin(
    services: Services, organization_id: str, admin_id: str, successor_id: str, *, actor: Actor
) -> Outcome:
    """Exchange the one admin for another member, in one operation (A3)."""
    with services.sessions.begin() as session:
        case = opened(session, services, organization_id, actor)
        holding = frozenset(name for name, role in case.rules.roles.items() if role.is_admin)
        passed = _Passed(Deed.TRANSFER_ADMIN, decide_admin_transfer, "admin", holding)
        return _transfer(case, admin_id, successor_id, passed)


def transfer_ownership(
    services: Services, organization_id: str, owner_id: str, successor_id: str, *, actor: Actor
) -> Outcome:
    """Pass on the ownership; the old owner steps down to admin (C7)."""
    with services.sessions.begin() as session:
        case = opened(session, services, organization_id, actor)
        holding = frozenset(name for name, role in case.rules.roles.items() if role.is_owner)
        passed = _Passed(Deed.TRANSFER_OWNERSHIP, decide_ownership_transfer, "ownership", holding)
        return _transfer(case, owner_id, successor_id, passed)


@dataclass(frozen=True, slots=True)
class _Passed:
    """What is passed on, and the roles that hold it."""

    deed: Deed
    decide: Callable[[PlanRules, MemberFacts, MemberFacts], Reassign | Refuse]
    name: str
    holding: frozenset[str]


def _transfer(case: Case, first_id: str, successor_id: str, passed: _Passed) -> Outcome:
    first, successor = case.need(first_id), case.need(successor_id)
    if successor.role in passed.holding and first.role not in passed.holding:
        return Done(line=f"passed on to {successor.id} already")
    if refused := case.refuse_unpermitted(passed.deed, first.id):
        return refused
    decided = passed.decide(case.rules, _facts(first), _facts(successor))
    return _reassign(case, decided, f"{passed.name}.transferred")


def _reassign(case: Case, decided: Reassign | Refuse, action: str) -> Outcome:
    """Check that the pool which takes a seat has room, then write every member it changes."""
    if isinstance(decided, Refuse):
        return decided
    members = [case.need(each.member_id) for each in decided.assignments]
    changed = [
        replace(member, role=each.role, seat_type=each.seat_type)
        for member, each in zip(members, decided.assignments, strict=True)
    ]
    if changed == members:
        return Done(line="nothing to change")
    if refused := _moving(case, members) or _no_room(case, decided, members[0]):
        return refused
    for member, after in zip(members, changed, strict=True):
        case.write(action, member, after)
    return Done(
        line="; ".join(f"{each.id}: {each.role}, {each.seat_type or 'no'} seat" for each in changed)
    )


def _moving(case: Case, members: list[Member]) -> Refuse | None:
    """Refuse a member who is being moved by a change of seats in flight: it counts on them (B7)."""
    subscription_id = pool_subscription(case.session, case.organization.id)
    pending = adjustments.pending(case.session, subscription_id) if subscription_id else None
    moving = {move.member_id for move in pending.moves} if pending else set()
    if moving.isdisjoint(member.id for member in members):
        return None
    return Refuse(
        code="in_progress",
        message="A change of seats that moves this member is under way",
        remedies=("try again when it is done",),
    )


def _no_room(case: Case, decided: Reassign, member: Member) -> Refuse | None:
    if not decided.takes or decided.takes == decided.frees:
        return None
    room = room_for(
        case.session,
        case.services,
        case.organization,
        takes=decided.takes,
        frees=decided.frees,
        member_id=member.id,
        may_raise=False,
    )
    outcome = decide_activation(room)
    if not isinstance(outcome, Refuse):
        return None
    tell_refused(case.session, case.services, member, room, outcome)
    return outcome


def _gone(member: Member) -> Refuse | None:
    return REMOVED if member.status == "removed" else None


def _facts(member: Member) -> MemberFacts:
    return MemberFacts(
        member_id=member.id,
        role=member.role,
        seat_type=member.seat_type,
        active=member.status == "active",
    )


def _other_admins(case: Case, member: Member) -> int:
    """Count the active admins beside this member (B8)."""
    present = case.active_by_role()
    admins = active_admins(case.rules, present)
    is_one = member.status == "active" and case.rules.roles.get(member.role)
    return admins - (1 if is_one and is_one.is_admin else 0)
