"""A member is invited and accepts: checked both times like an activation, and nothing is reserved.

The seat itself is taken, and bought where need be, when the member becomes active (C3).
"""

from dataclasses import replace

from reconcile.actor import Actor
from reconcile.members.joining import Done, Outcome, opened
from reconcile.members.telling import tell_refused
from reconcile.policy.activation import decide_invite
from reconcile.policy.permits import Deed
from reconcile.policy.roles import WantedRole, decide_invited
from reconcile.policy.values import Refuse
from reconcile.services import Services
from reconcile.store.roster import Member


def invite(  # noqa: PLR0913 - who invites whom as what, all by name
    services: Services,
    organization_id: str,
    member_id: str,
    *,
    role: str,
    seat_type: str | None = None,
    email: str | None = None,
    actor: Actor,
) -> Outcome:
    """Invite a member; whoever was removed may be invited again, with another role.

    Refused for the role (A1, A3), in a trial before any seat is counted (C4), and where there is
    no room at this moment. The same invite again does nothing. Raises NoSuchOrganization.
    """
    with services.sessions.begin() as session:
        case = opened(session, services, organization_id, actor)
        if refused := case.refuse_unpermitted(Deed.INVITE):
            return refused
        present = case.find(member_id)
        wanted = WantedRole(role=role, seat_type=seat_type)
        if present and present.status != "removed":
            return _already(present, wanted)
        invited = decide_invited(case.rules, member_id, wanted, case.active_by_role())
        if isinstance(invited, Refuse):
            return invited
        member = Member(
            organization_id=organization_id,
            id=member_id,
            role=invited.role,
            seat_type=invited.seat_type,
            status="invited",
            email=email or (present.email if present else None),
        )
        decided = decide_invite(case.room_of(member))
        if isinstance(decided, Refuse):
            return decided
        case.write("member.invited", present, member)
        return Done(line=f"invited: {decided.reason}")


def accept(services: Services, organization_id: str, member_id: str, *, actor: Actor) -> Outcome:
    """Let an invited member accept; the check of the invite runs again (C3).

    Raises NoSuchMember.
    """
    with services.sessions.begin() as session:
        case = opened(session, services, organization_id, actor)
        member = case.need(member_id)
        if refused := case.refuse_unpermitted(Deed.ACCEPT, member_id):
            return refused
        if member.status == "pending":
            return Done(line="accepted already")
        if nothing_to_do := case.unfit(member, unblocks=False):
            return nothing_to_do
        room = case.room_of(member)
        decided = decide_invite(room)
        if isinstance(decided, Refuse):
            tell_refused(session, services, member, room, decided)
            return decided
        case.write("member.accepted", member, replace(member, status="pending"))
        return Done(line=f"accepted: {decided.reason}")


def _already(present: Member, wanted: WantedRole) -> Outcome:
    same = (present.role, present.seat_type) == (
        wanted.role,
        wanted.seat_type or present.seat_type,
    )
    if present.status == "invited" and same:
        return Done(line="invited already")
    if present.status == "invited":
        return Refuse(
            code="already_invited",
            message=f"Invited already, as {present.role}, {present.seat_type or 'no'} seat",
            remedies=("revoke the invite first", "change the role or the seat type"),
        )
    return Refuse(
        code="already_member",
        message=f"A member already: {present.status}",
        remedies=("change the role or the seat type",),
    )
