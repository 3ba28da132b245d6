"""Organizations as the host application keeps them: made, renamed, moved to another plan.

A plan change is let through whatever the roster looks like (C8): what is over the new plan's limits
is found, and said, by the settling that follows. Only a plan that its members could not be counted
by is refused, and one that has exactly one admin where there are several (A3).
"""

from dataclasses import asdict, replace
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from reconcile.actor import Actor
from reconcile.members.joining import NoSuchMember
from reconcile.policy.roles import active_admins
from reconcile.policy.values import PlanRules, Refuse
from reconcile.services import Services
from reconcile.store import audit, checkouts, organizations
from reconcile.store import roster as roster_store
from reconcile.store.inbox import add_request
from reconcile.store.roster import ROSTER_CHANGED, Organization

CUSTOMER_TAKEN = Refuse(
    code="customer_taken",
    message="This Stripe customer pays for another organization",
    remedies=("give each organization a customer of its own",),
)


def create(services: Services, wanted: Organization, *, actor: Actor) -> Organization | Refuse:
    """Add an organization and return it. The same one again changes nothing.

    Raises UnknownPlan.
    """
    services.catalog.plan(wanted.plan)
    try:
        with services.sessions.begin() as session:
            if organizations.add(session, wanted):
                _told(session, services, actor, "organization.created", None, wanted)
                return wanted
            found = roster_store.organization(session, wanted.id)
    except IntegrityError:
        return CUSTOMER_TAKEN
    if found == wanted:
        return found
    return Refuse(
        code="organization_exists",
        message=f"There is an organization {wanted.id} already",
        remedies=("change it", "choose another id"),
    )


def change(
    services: Services, organization_id: str, *, actor: Actor, **values: Any
) -> Organization | Refuse:
    """Write these values (name, plan, stripe_customer_id, trial) and return the organization.

    Raises UnknownPlan, and NoSuchMember for an unknown organization.
    """
    if "plan" in values:
        services.catalog.plan(values["plan"])
    try:
        with services.sessions.begin() as session:
            roster_store.lock_organization(session, organization_id)
            before = roster_store.organization(session, organization_id)
            if before is None:
                raise NoSuchMember(organization_id)
            after = replace(before, **values)
            if after == before:
                return before
            if after.plan != before.plan and (refused := _unfit(session, services, after)):
                return refused
            organizations.write(session, after)
            if after.plan != before.plan:
                checkouts.close_needless(session, organization_id=after.id)
            _told(session, services, actor, "organization.changed", before, after)
            return after
    except IntegrityError:
        return CUSTOMER_TAKEN


def _unfit(session: Session, services: Services, after: Organization) -> Refuse | None:
    """Return why the plan's rules could not count the members there are."""
    if services.roster.view is not None:
        return None
    rules = services.catalog.plan(after.plan).rules
    strangers = [
        f"{role or 'no role'} with {seat_type or 'no seat'} ({count})"
        for role, seat_type, count in organizations.roles_present(session, after.id)
        if not _fits(rules, role, seat_type)
    ]
    if strangers:
        return Refuse(
            code="plan_does_not_fit",
            message=f"The plan {after.plan} does not have: {', '.join(strangers)}",
            remedies=("change these members' roles and seat types first", "remove them"),
        )
    admins = active_admins(rules, roster_store.active_roles(session, after.id))
    if not rules.single_admin or admins < 2:
        return None
    return Refuse(
        code="plan_does_not_fit",
        message=f"The plan {after.plan} has exactly one admin: {admins} are active",
        remedies=("change the other admins' roles first",),
    )


def _fits(rules: PlanRules, role: str, seat_type: str | None) -> bool:
    known = rules.roles.get(role)
    if known is None:
        return False
    return seat_type in known.seat_types if known.seat_types else seat_type is None


def _told(  # noqa: PLR0913, PLR0917 - who changed what, from what to what
    session: Session,
    services: Services,
    actor: Actor,
    action: str,
    before: Organization | None,
    after: Organization,
) -> None:
    audit.record(
        session,
        actor,
        action,
        after.id,
        organization_id=after.id,
        before=asdict(before) if before else None,
        after=asdict(after),
    )
    add_request(
        session,
        type=ROSTER_CHANGED,
        work_key=f"org:{after.id}",
        payload={"organization": after.id, "what": action, "actor": str(actor)},
        due_at=services.clock(),
    )
