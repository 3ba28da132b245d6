"""Who asks, looked up: whether the acting member may do it, by the plan's rules (`policy.permits`).

Where the host's view is the roster, members are counts without names: the host application knows
who its members are and what they may do, so it decides and asks in its own name.

Read in the caller's transaction. Where it matters that the asker is still who they were when the
change is written, the caller holds the organization's lock.
"""

from sqlalchemy.orm import Session

from reconcile.actor import Actor
from reconcile.policy.permits import Acting, Deed, decide_permit, unknown_asker
from reconcile.policy.values import Refuse
from reconcile.roster import Roster
from reconcile.store import roster as store
from reconcile.store.roster import Organization

NAMELESS = Refuse(
    code="members_elsewhere",
    message="Members are kept by the host application: who may do this is its to decide",
    remedies=("name no acting member once you have checked that they may; `because` may say who",),
)


def refuse_unpermitted(  # noqa: PLR0913, PLR0917 - who asks for what, of whom
    session: Session,
    roster: Roster,
    organization: Organization,
    actor: Actor,
    deed: Deed,
    about: str | None = None,
) -> Refuse | None:
    """Return why the actor may not do it to the member `about`, or None.

    An actor who is no member (the host application, a person at the command line) may.
    """
    if actor.member_id is None:
        return None
    if roster.view is not None:
        return NAMELESS
    found = store.member(session, organization.id, actor.member_id)
    if found is None:
        return unknown_asker(deed)
    acting = Acting(member_id=found.id, role=found.role, active=found.status == "active")
    return decide_permit(roster.catalog.plan(organization.plan).rules, acting, deed, about)
