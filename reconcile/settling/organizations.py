"""Settles the subscriptions of an organization or of a customer, each under its own lock."""

from collections.abc import Callable, Collection
from dataclasses import replace

import orjson
from sqlalchemy.orm import Session

from reconcile.database import exclusive
from reconcile.errors import Busy
from reconcile.policy.standing import is_paid, standing_of
from reconcile.policy.values import FindingKind, SeatPolicy
from reconcile.services import Services
from reconcile.settling.beside import OrganizationMissing, check_organization
from reconcile.settling.course import Settled
from reconcile.settling.settle import settle_subscription
from reconcile.store import findings, own_seats, subscriptions, work
from reconcile.store import roster as roster_store
from reconcile.store.roster import ROSTER_CHANGED, Organization
from reconcile.store.subscriptions import Held
from reconcile.store.waiting import ACTIVATE
from reconcile.store.work import ClaimedEvent

# Of an organization with many subscriptions, so many decisions are kept with their facts.
MOST_DECISIONS = 20
# So many own seats are settled in one go; after an import of more the next go follows at once.
MOST_SUSPECTS = 100


def settle_organization(  # noqa: PLR0913 - what a trigger may say, all by name
    services: Services,
    organization_id: str,
    *,
    trigger: str,
    writes: bool = True,
    retry_declined: bool = False,
    members: Collection[str] | None = None,
) -> Settled:
    """Settle the organization's subscriptions, then the organization itself.

    Where every member pays for a seat of their own, only the seats of the `members` whom the
    trigger names: nothing is written to the others, they tell of themselves, and a thousand of
    them would not be read in one job. Without a name (an import), or with many, those seats that do
    not fit the roster: 100 of them, and the work is due again at once while there are more.

    One failure does not keep the others from being settled; the first is raised at the end.
    Raises OrganizationMissing when it was never imported.
    """
    with services.sessions() as session:
        organization = roster_store.organization(session, organization_id)
        known = subscriptions.of_organization(session, organization_id)
    if organization is None:
        raise OrganizationMissing(organization_id)
    suspects: list[str] = []
    if not known:
        ids = _ids_of_customer(services, organization.stripe_customer_id)
    elif not _own_seats(services, organization):
        ids = [held.id for held in known]
    elif members is not None and len(members) <= MOST_SUSPECTS:
        ids = [held.id for held in known if held.member_id in members]
    else:
        suspects = _suspects(services, organization_id, known)
        ids = suspects[:MOST_SUSPECTS]

    def one(subscription_id: str) -> Settled:
        return settle_subscription(
            services,
            subscription_id,
            trigger=trigger,
            writes=writes,
            retry_declined=retry_declined,
            beside=False,
        )

    settled = _each(services, ids, one)
    if len(suspects) > len(ids):
        rest = _suspects(services, organization_id, known)
        # Those that stay suspects whatever is done are the night's: this would never end.
        if 0 < len(rest) < len(suspects):
            more = Settled(line=f"{len(rest)} own seats to go", again_at=services.clock())
            return _together([*settled, more])
    beside = check_organization(services, organization_id, trigger=trigger)
    quiet = settled and beside.verdict and not beside.verdict.observations
    return _together([*settled, replace(beside, line="") if quiet else beside])


def members_named(session: Session, batch: Collection[ClaimedEvent]) -> frozenset[str] | None:
    """Return the members whom the events are about; None when one of them names nobody."""
    named = set()
    for event in batch:
        if event.type not in (ROSTER_CHANGED, ACTIVATE):
            return None
        member_id = orjson.loads(work.payload_of(session, event.id)).get("member")
        if member_id is None:
            return None
        named.add(str(member_id))
    return frozenset(named)


def _own_seats(services: Services, organization: Organization) -> bool:
    return services.catalog.plan(organization.plan).rules.policy == SeatPolicy.OWN_SEAT


def _suspects(services: Services, organization_id: str, known: tuple[Held, ...]) -> list[str]:
    """Return the own seats with the wrong findings: paid for nobody and not said to be, or said."""
    with services.sessions() as session:
        active = own_seats.active_members(session, organization_id)
        told = findings.subscriptions_with(
            session, organization_id, FindingKind.SEAT_WITHOUT_MEMBER
        )
    names_members = services.roster.view is None

    def is_for_nobody(held: Held) -> bool:
        gone = held.member_id is not None and held.member_id not in active
        return names_members and gone and is_paid(standing_of(held.status))

    return [held.id for held in known if is_for_nobody(held) != (held.id in told)]


def settle_customer(
    services: Services, customer_id: str, *, trigger: str, writes: bool = True
) -> Settled:
    """Settle every subscription of a Stripe customer; a declined raise is tried again at once.

    Customer events are few, and one of them is a new card.
    """
    with services.sessions() as session:
        organization = roster_store.organization_of_customer(session, customer_id)
        ids = [held.id for held in subscriptions.of_customer(session, customer_id)]
    if organization is not None and (not ids or _own_seats(services, organization)):
        return settle_organization(
            services, organization.id, trigger=trigger, writes=writes, retry_declined=True
        )

    def one(subscription_id: str) -> Settled:
        return settle_subscription(
            services, subscription_id, trigger=trigger, writes=writes, retry_declined=True
        )

    settled = _each(services, ids, one)
    return _together(settled) if settled else Settled(line="the customer has no seats of ours")


def _ids_of_customer(services: Services, customer_id: str | None) -> list[str]:
    """Return the live subscriptions of a customer of whom none is recorded yet."""
    if customer_id is None:
        return []
    page = services.stripe.subscriptions_page(customer=customer_id)
    return [subscription.id for subscription in page.subscriptions()]


def _each(services: Services, ids: list[str], settle: Callable[[str], Settled]) -> list[Settled]:
    settled: list[Settled] = []
    failed: list[Exception] = []
    for subscription_id in ids:
        try:
            with exclusive(services.engine, f"sub:{subscription_id}") as mine:
                if mine:
                    settled.append(settle(subscription_id))
                else:
                    failed.append(Busy(subscription_id))
        except Exception as error:  # noqa: BLE001 - the others are settled first, then it is raised
            failed.append(error)
    if failed:
        raise failed[0]
    return settled


def _together(settled: list[Settled]) -> Settled:
    waits = [each.again_at for each in settled if each.again_at]
    return Settled(
        line="; ".join(dict.fromkeys(each.line for each in settled if each.line)),
        again_at=min(waits, default=None),
        verdict=settled[-1].verdict,
        adjustment_id=next((each.adjustment_id for each in settled if each.adjustment_id), None),
        opened=sum(each.opened for each in settled),
        closed=sum(each.closed for each in settled),
        decided=tuple(one for each in settled for one in each.decided)[:MOST_DECISIONS],
    )
