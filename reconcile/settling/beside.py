"""What holds of an organization beside any one subscription of it; Stripe is not asked.

Hard caps and included pools (C1, C8), and members without a seat of their own (A2).
"""

from reconcile import facts
from reconcile.errors import WaitingForRow
from reconcile.outward.reviews import follow_cap
from reconcile.policy.reconciliation import reconcile_organization
from reconcile.policy.values import Verdict
from reconcile.services import Services
from reconcile.settling.course import Course, Settled
from reconcile.store import findings
from reconcile.store import roster as roster_store
from reconcile.store.findings import Scope
from reconcile.store.roster import Organization


class OrganizationMissing(WaitingForRow):
    """The subscription's organization has not been imported."""


def check_organization(services: Services, organization_id: str, *, trigger: str) -> Settled:
    """Settle what holds of the organization beside its subscriptions.

    Raises OrganizationMissing when it was never imported, RosterUnreadable when nobody can be
    counted.
    """
    with services.sessions() as session:
        organization = roster_store.organization(session, organization_id)
    if organization is None:
        raise OrganizationMissing(organization_id)
    course = Course(services, organization_id, trigger, True, retry_declined=False, previews=False)
    verdict = note_organization(course, organization)
    course.need_roster()
    return course.ended(verdict.decision.reason, verdict)


def note_organization(course: Course, organization: Organization) -> Verdict:
    """Record what holds of the organization beside its subscriptions."""
    services = course.services
    with services.sessions.begin() as session:
        found = facts.of_organization(session, services, organization)
        verdict = reconcile_organization(found)
        course.note_roster(session, found)
        course.count(
            findings.sync(
                session,
                Scope(organization_id=organization.id),
                verdict.observations,
                verdict.judged,
                at=services.clock(),
                opened_by=course.trigger,
            )
        )
        follow_cap(session, services, organization.id, verdict, by=course.trigger)
    return verdict
