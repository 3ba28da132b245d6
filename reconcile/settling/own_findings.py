"""The findings that only settling can make, beside those the policy's facts call for."""

from sqlalchemy.orm import Session

from reconcile.policy.observing import SHAPE_KINDS
from reconcile.policy.rulings import Row
from reconcile.policy.values import (
    Change,
    Decision,
    FindingKind,
    Observation,
    Verdict,
    Wait,
)
from reconcile.services import Services
from reconcile.store import findings
from reconcile.store.findings import INSTALLATION, Synced
from reconcile.stripe_shapes import StripeSubscription

# Where a contract's approved change is due, it comes before what a run may decide.
CONTRACT = frozenset({Row.CONTRACT_AGREES, Row.CONTRACT_DIFFERS, Row.CONTRACT_OVERAGE})


def asks_approved(verdict: Verdict) -> bool:
    """Return whether to ask what was approved of a contract, and is due.

    Past due it waits, and what is owed stays told. Where an item is missing and nothing else is
    amiss: none may be what was approved.
    """
    odd = {each.kind for each in verdict.observations} & SHAPE_KINDS
    only_missing = verdict.believes_counts and odd == {FindingKind.ITEM_MISSING}
    return verdict.rule in CONTRACT or verdict.rule is Row.PAST_DUE or only_missing


def unknown_customer(subscription: StripeSubscription) -> Observation:
    """Return the finding of seats that nobody we know pays for."""
    return Observation(
        kind=FindingKind.UNKNOWN_CUSTOMER,
        summary=f"Seats are billed to {subscription.customer_id}, which no organization has: "
        "import the organization, or name it in the subscription's metadata.",
        detail={"customer": subscription.customer_id},
    )


def sync_roster(
    session: Session, services: Services, problem: str | None, *, opened_by: str, whole: bool
) -> Synced:
    """Open the finding of a host's roster view that can be read for nobody, or close it.

    It is of no organization: one view, one finding. `whole`: everybody was to be counted. That one
    organization can be counted does not make up for a night that could not read them all.
    """
    at = services.clock()
    standing = findings.open_of(session, INSTALLATION)
    of_night = whole or any(each.detail.get("whole") for each in standing)
    if problem is None:
        if of_night and not whole:
            return Synced()
        return findings.close(session, INSTALLATION, FindingKind.ROSTER_UNREADABLE, at=at)
    observation = Observation(
        kind=FindingKind.ROSTER_UNREADABLE,
        urgent=True,
        summary=f"The host's roster view cannot be read ({problem}): nothing is raised or lowered "
        "until it can; trueup doctor tries it.",
        detail={"whole": of_night},
    )
    return findings.observe(session, INSTALLATION, observation, at=at, opened_by=opened_by)


def done_with(verdict: Verdict) -> frozenset[FindingKind]:
    """Return the kinds opened beside the policy that the verdict leaves nothing of.

    What is unclear says nothing of the change that was declined, or stuck, when it was clear. And
    whether an approved change waits where a contract is in order, or its invoice past due, is not
    the verdict's to say.
    """
    over = frozenset({FindingKind.UNKNOWN_CUSTOMER})
    if verdict.rule is Row.UNCLEAR or asks_approved(verdict):
        return over
    return over | nothing_left_of(verdict.decision)


def nothing_left_of(decision: Decision) -> frozenset[FindingKind]:
    """Return the kinds opened by a change under way that the decision leaves nothing of."""
    over = set()
    if not isinstance(decision, (Change, Wait)):
        over |= {FindingKind.PAYMENT_DECLINED, FindingKind.ADJUSTMENT_STUCK}
    elif isinstance(decision, Change) and decision.at_renewal:
        # Fewer seats, later: there is nothing left to pay for now.
        over |= {FindingKind.PAYMENT_DECLINED}
    if not (isinstance(decision, Change) and decision.through_schedule):
        over |= {FindingKind.SCHEDULE_BLOCKS_CHANGE}
    return frozenset(over)


def blocked_by_schedule(change: Change) -> Observation:
    """Return the finding of a change that a subscription schedule stands in the way of.

    A schedule rewrites the quantities at its next phase, and updating one means sending every
    phase again with all its coupons and dates. That is its owner's to do.
    """
    return Observation(
        kind=FindingKind.SCHEDULE_BLOCKS_CHANGE,
        urgent=True,
        summary="A subscription schedule drives it; change its phases in Stripe: " + change.reason,
        detail={"quantities": dict(change.quantities)},
    )
