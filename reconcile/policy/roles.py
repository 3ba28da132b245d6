"""Who holds which role and seat: invites, changes, transfers, departures (A1, A3, B6-B9, C6-C7).

These say what would change and which pool gives and takes a seat; whether the pool that takes has
room is decided by `activation`, the one place that knows it, and who may ask for it by `permits`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from reconcile.policy.observing import label_of
from reconcile.policy.values import PlanRules, Refuse, RoleRules, SeatPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberFacts:
    """One member as the decision needs it. `active` members hold their seat, others none."""

    member_id: str
    role: str
    seat_type: str | None
    active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedRole:
    """A role asked for, and the seat type with it."""

    role: str
    seat_type: str | None = None  # None: keep the present one, or the role's only one


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A member's role and seat type after the change."""

    member_id: str
    role: str
    seat_type: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reassign:
    """One audited operation: every member it changes, the pool it takes a seat of, and frees."""

    assignments: tuple[Assignment, ...]
    takes: str | None = None
    frees: str | None = None


def decide_invited(
    rules: PlanRules, member_id: str, wanted: WantedRole, active_by_role: Mapping[str, int]
) -> Assignment | Refuse:
    """Return the role and seat type an invited member will have, or why nobody is invited so.

    An individual plan has its one admin and no other role: there is nobody to invite (A1).
    """
    role = rules.roles.get(wanted.role)
    admins = active_admins(rules, active_by_role)
    if rules.single_admin and admins and all(each.is_admin for each in rules.roles.values()):
        return Refuse(
            code="individual_plan",
            message="The plan is for one person: it has no seats to add",
            remedies=("upgrade the plan",),
        )
    if role is None:
        return _unknown_role(rules, wanted.role)
    if refused := refuse_second(rules, role, active_by_role):
        return refused
    nobody = MemberFacts(member_id=member_id, role=role.role, seat_type=None, active=False)
    decided = _assign(rules, nobody, role, wanted.seat_type)
    return decided if isinstance(decided, Refuse) else decided.assignments[0]


def refuse_second(
    rules: PlanRules, role: RoleRules, active_by_role: Mapping[str, int]
) -> Refuse | None:
    """Return why there may not be one more of what there is one of: the owner, the one admin."""
    if role.is_owner and active_by_role.get(role.role, 0):
        return Refuse(
            code="transfer_needed",
            message="There is an owner already",
            remedies=("transfer the ownership",),
        )
    if rules.single_admin and role.is_admin and active_admins(rules, active_by_role):
        return _single_admin()
    return None


def decide_role_change(
    rules: PlanRules, member: MemberFacts, wanted: WantedRole, *, other_active_admins: int
) -> Reassign | Refuse:
    """Return the change of one member's role, or why it may not happen.

    The count of other active admins has to be read under the organization's lock: of two admins
    demoting each other at the same moment one has to see the other's success (B8).
    """
    target = rules.roles.get(wanted.role)
    if target is None:
        return _unknown_role(rules, wanted.role)
    if target.is_owner or _role(rules, member).is_owner:
        return Refuse(
            code="transfer_needed",
            message="Ownership is passed on in one step, not by a change of role",
            remedies=("transfer the ownership",),
        )
    if target.is_admin and not _role(rules, member).is_admin and rules.single_admin:
        return _single_admin()
    if not target.is_admin and (refused := _last_admin(rules, member, other_active_admins)):
        return refused
    return _assign(rules, member, target, wanted.seat_type)


def decide_seat_move(rules: PlanRules, member: MemberFacts, to_seat_type: str) -> Reassign | Refuse:
    """Return the move of a member to another pool (B6); it needs room there and buys nothing."""
    if refused := _own_seats(rules):
        return refused
    return _assign(rules, member, _role(rules, member), to_seat_type)


def decide_swap(
    rules: PlanRules, first: MemberFacts, second: MemberFacts, seat_type: str
) -> Reassign | Refuse:
    """Return the exchange of two members' pools: `first` gets the second's seat of `seat_type`.

    Net zero for every pool, so it fits where both are full (B7 without a purchase).
    """
    if refused := _own_seats(rules):
        return refused
    if not (first.active and second.active and second.seat_type == seat_type and first.seat_type):
        return Refuse(
            code="nothing_to_swap",
            message=f"Two active members swap their seats, and one of {second.member_id} "
            f"has to be a {label_of(rules, seat_type)} seat",
            remedies=("look at the members again",),
        )
    there = _assign(rules, first, _role(rules, first), seat_type)
    back = _assign(rules, second, _role(rules, second), first.seat_type)
    if isinstance(there, Refuse) or isinstance(back, Refuse):
        return there if isinstance(there, Refuse) else back
    return Reassign(assignments=(*there.assignments, *back.assignments))


def decide_admin_transfer(
    rules: PlanRules, admin: MemberFacts, successor: MemberFacts
) -> Reassign | Refuse:
    """Return the exchange of the one admin (A3): both members in one operation, net zero.

    Where several admins may exist it takes two audited steps instead (B9).
    """
    if not rules.single_admin:
        return Refuse(
            code="two_steps",
            message="Several admins may exist: there is no one admin to pass on",
            remedies=("promote the other member first", "then demote or remove the first"),
        )
    if not _role(rules, admin).is_admin:
        return Refuse(
            code="not_admin",
            message="Only the admin's role is passed on",
            remedies=("name the admin",),
        )
    if refused := _unfit(admin, successor):
        return refused
    return Reassign(
        assignments=(
            Assignment(member_id=successor.member_id, role=admin.role, seat_type=admin.seat_type),
            Assignment(
                member_id=admin.member_id, role=successor.role, seat_type=successor.seat_type
            ),
        ),
        takes=successor.seat_type,
        frees=successor.seat_type,
    )


def decide_ownership_transfer(
    rules: PlanRules, owner: MemberFacts, successor: MemberFacts
) -> Reassign | Refuse:
    """Return the transfer of ownership (C7): the old owner steps down to admin, at once.

    To an admin it is net zero and fits a full pool. Anyone else is promoted to admin as part of
    it, so an admin seat has to be free: what is taken and what is freed are different pools.
    """
    if not _role(rules, owner).is_owner:
        return Refuse(
            code="not_owner",
            message="Only the owner passes on ownership",
            remedies=("name the owner",),
        )
    if refused := _unfit(owner, successor):
        return refused
    admins = [role for role in rules.roles.values() if role.is_admin and not role.is_owner]
    if not admins or not admins[0].seat_types:
        return Refuse(
            code="no_admin_role",
            message="The plan has no admin role for the old owner",
            remedies=("choose a plan with admins",),
        )
    admin = admins[0]
    return Reassign(
        assignments=(
            Assignment(member_id=successor.member_id, role=owner.role, seat_type=owner.seat_type),
            Assignment(member_id=owner.member_id, role=admin.role, seat_type=admin.seat_types[0]),
        ),
        takes=admin.seat_types[0],
        frees=successor.seat_type,
    )


def decide_departure(
    rules: PlanRules, member: MemberFacts, *, other_active_admins: int
) -> Refuse | None:
    """Return why a member may not be removed or blocked, or None.

    Whoever leaves frees the seat; the quantity stays as it is (B14).
    """
    if _role(rules, member).is_owner:
        return Refuse(
            code="transfer_needed",
            message="The owner cannot leave",
            remedies=("transfer the ownership first",),
        )
    return _last_admin(rules, member, other_active_admins)


def _role(rules: PlanRules, member: MemberFacts) -> RoleRules:
    return rules.roles.get(member.role, RoleRules(role=member.role))


def active_admins(rules: PlanRules, active_by_role: Mapping[str, int]) -> int:
    """Return the active admins, the owner included."""
    return sum(active_by_role.get(name, 0) for name, role in rules.roles.items() if role.is_admin)


def _own_seats(rules: PlanRules) -> Refuse | None:
    """A2: a seat of one's own is of the type that was paid for."""
    if rules.policy != SeatPolicy.OWN_SEAT:
        return None
    return Refuse(
        code="own_seat",
        message="Every member pays for a seat of their own: it does not move",
        remedies=("cancel the seat and pay for another",),
    )


def _assign(
    rules: PlanRules, member: MemberFacts, role: RoleRules, wanted: str | None
) -> Reassign | Refuse:
    if wanted is None:
        stays = member.seat_type in role.seat_types
        only = role.seat_types[0] if len(role.seat_types) == 1 else None
        wanted = member.seat_type if stays else only
    if wanted not in (role.seat_types or (None,)):
        labels = " or ".join(label_of(rules, seat_type) for seat_type in role.seat_types)
        return Refuse(
            code="seat_type_not_allowed",
            message=f"A {role.role.replace('_', ' ')} takes {labels or 'no'} seat",
            remedies=tuple(f"choose {label_of(rules, s)}" for s in role.seat_types),
        )
    return Reassign(
        assignments=(Assignment(member_id=member.member_id, role=role.role, seat_type=wanted),),
        # Who is not active holds no seat yet; the check comes with the activation (C3).
        takes=wanted if member.active else None,
        frees=member.seat_type if member.active else None,
    )


def _unfit(first: MemberFacts, successor: MemberFacts) -> Refuse | None:
    if not first.active:
        # Who is only invited to a role, or was removed with it, does not hold it: passed on, it
        # would be held twice.
        return Refuse(
            code="not_active",
            message="Only an active member passes on their role",
            remedies=("name the active member who holds it",),
        )
    if first.member_id == successor.member_id or not successor.active:
        return Refuse(
            code="successor_unfit",
            message="The successor has to be another active member",
            remedies=("choose an active member",),
        )
    return None


def _last_admin(rules: PlanRules, member: MemberFacts, others: int) -> Refuse | None:
    if not (member.active and _role(rules, member).is_admin) or others > 0:
        return None
    if rules.single_admin:
        return _single_admin()
    return Refuse(
        code="last_admin",
        message="At least one active admin has to remain",
        remedies=("promote another active member first",),
    )


def _single_admin() -> Refuse:
    return Refuse(
        code="single_admin",
        message="The plan has exactly one admin, changed in one step",
        remedies=("transfer the admin role",),
    )


def _unknown_role(rules: PlanRules, role: str) -> Refuse:
    return Refuse(
        code="unknown_role",
        message=f"The plan has no role {role}",
        remedies=tuple(f"choose {known}" for known in rules.roles),
    )
