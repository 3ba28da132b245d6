"""How a member row is changed: under the organization's lock, and with a word about who did it.

Used by everything that changes a member, whether a seat is bought for it or not. The rows are our
own; where the host's view is the roster, members are changed there.
"""

from dataclasses import dataclass, replace

import structlog
from sqlalchemy.orm import Session

from reconcile.acting import refuse_unpermitted
from reconcile.actor import Actor
from reconcile.errors import Permanent, WaitingForRow
from reconcile.members.room import room_for, seat_taken
from reconcile.members.telling import tell_changed
from reconcile.policy.activation import ActivationFacts
from reconcile.policy.permits import Deed
from reconcile.policy.roles import refuse_second
from reconcile.policy.values import PlanRules, Refuse, SeatPolicy
from reconcile.services import Services
from reconcile.store import audit, checkouts, subscriptions
from reconcile.store import roster as roster_store
from reconcile.store.inbox import add_request
from reconcile.store.roster import ROSTER_CHANGED, Member, Organization

log = structlog.get_logger()

REMOVED = Refuse(code="removed", message="The member was removed", remedies=("invite them again",))
_BLOCKED = Refuse(code="blocked", message="The member is blocked", remedies=("unblock them",))
_NOT_BLOCKED = Refuse(
    code="not_blocked", message="The member is not blocked", remedies=("activate them",)
)


class RosterIsTheHosts(Permanent):
    """Members are counted from the host's view, so they are changed there."""


class NoSuchMember(WaitingForRow):
    """The organization has no such member, or is not imported."""


class NoSuchOrganization(NoSuchMember):
    """The organization is not imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What was done, in one line for a person."""

    line: str


Outcome = Done | Refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One operation under way: the organization is locked, and the actor may do it."""

    session: Session
    services: Services
    organization: Organization
    actor: Actor

    @property
    def rules(self) -> PlanRules:
        """The rules of the organization's plan."""
        return self.services.catalog.plan(self.organization.plan).rules

    def refuse_unpermitted(self, deed: Deed, about: str | None = None) -> Refuse | None:
        """Return why the actor may not do it to this member, or None."""
        return refuse_unpermitted(
            self.session, self.services.roster, self.organization, self.actor, deed, about
        )

    def find(self, member_id: str) -> Member | None:
        """Return the member, or None."""
        return roster_store.member(self.session, self.organization.id, member_id)

    def need(self, member_id: str) -> Member:
        """Return the member; raises NoSuchMember."""
        if found := self.find(member_id):
            return found
        raise NoSuchMember(f"{self.organization.id}/{member_id}")

    def active_by_role(self) -> dict[str, int]:
        """Count the active members by role; only right under the lock (B8)."""
        return roster_store.active_roles(self.session, self.organization.id)

    def room_of(self, member: Member) -> ActivationFacts:
        """Return the facts of the member's activation."""
        takes = seat_taken(self.rules, member)
        return room_for(
            self.session, self.services, self.organization, takes=takes, member_id=member.id
        )

    def write(self, action: str, before: Member | None, after: Member) -> None:
        """Write the member and the audit entry; where somebody active is concerned, also the work
        that the counts ask for, and the word to the host. A page to pay on that is for nobody any
        more is closed."""
        if before is None:
            roster_store.add_member(self.session, after)
        else:
            roster_store.write_member(self.session, after)
        audit.record(
            self.session,
            self.actor,
            action,
            after.id,
            organization_id=self.organization.id,
            before=_shown(before) if before else None,
            after=_shown(after),
        )
        log.info(action, organization=self.organization.id, member=after.id)
        if self.rules.policy == SeatPolicy.OWN_SEAT:
            checkouts.close_needless(
                self.session, organization_id=self.organization.id, member_id=after.id
            )
        elif before and before.status == after.status == "active":
            subscriptions.note_moved(
                self.session, self.organization.id, before.seat_type, after.seat_type
            )
        if "active" not in {after.status, before.status if before else None}:
            return
        request_id = add_request(
            self.session,
            type=ROSTER_CHANGED,
            work_key=f"org:{self.organization.id}",
            payload={"what": action, "member": after.id, "actor": str(self.actor)},
            due_at=self.services.clock(),
        )
        what = action.partition(".")[2].replace("_", " ")
        tell_changed(self.session, self.services, after, what, request_id)

    def join(self, member: Member, reason: str) -> Done:
        """Write the member active; the seats are looked at in the same transaction's request."""
        self.write("member.activated", member, replace(member, status="active"))
        return Done(line=f"active: {reason}")

    def unfit(self, member: Member, *, unblocks: bool) -> Outcome | None:
        """Return why there is nothing to check, if there is nothing: the member's own state."""
        if member.status == "active":
            return Done(line="active already")
        if member.status == "removed":
            return REMOVED
        if (member.status == "blocked") != unblocks:
            return _NOT_BLOCKED if unblocks else _BLOCKED
        role = self.rules.roles.get(member.role)
        if role is None or (role.seat_types and member.seat_type not in role.seat_types):
            return Refuse(
                code="seat_type_not_allowed",
                message=f"The role {member.role} takes no seat of the type {member.seat_type}",
                remedies=("choose the role and the seat type first",),
            )
        return refuse_second(self.rules, role, self.active_by_role())


def opened(session: Session, services: Services, organization_id: str, actor: Actor) -> Case:
    """Lock the organization until the transaction ends. Raises as `unlocked`."""
    if services.roster.view is None:
        roster_store.lock_organization(session, organization_id)
    return unlocked(session, services, organization_id, actor)


def unlocked(session: Session, services: Services, organization_id: str, actor: Actor) -> Case:
    """Return the case without its lock, to read only. Raises RosterIsTheHosts, NoSuchOrganization.

    What is read may be over when it is used: whatever is written is checked again under the lock.
    """
    if services.roster.view is not None:
        raise RosterIsTheHosts(services.roster.view.name)
    organization = roster_store.organization(session, organization_id)
    if organization is None:
        raise NoSuchOrganization(organization_id)
    return Case(session=session, services=services, organization=organization, actor=actor)


def _shown(member: Member) -> dict[str, str | None]:
    return {"role": member.role, "seat_type": member.seat_type, "status": member.status}
