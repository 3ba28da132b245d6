"""From what Stripe said to the facts a decision is made from: record it, then read it back whole.

Everything here runs inside the caller's transaction and calls nobody but the database.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from reconcile.catalog import Catalog
from reconcile.policy.proration import PriceModel
from reconcile.policy.standing import is_paid, standing_of
from reconcile.policy.values import (
    ContractEnd,
    ItemProblem,
    OrganizationFacts,
    PlanRules,
    SeatFacts,
    SeatPolicy,
    Standing,
    SubscriptionFacts,
)
from reconcile.roster import Counts
from reconcile.services import Services
from reconcile.store import adjustments, contracts, findings, own_seats, subscriptions
from reconcile.store import roster as roster_store
from reconcile.store.findings import Scope
from reconcile.store.roster import AutoAdd, Organization
from reconcile.store.subscriptions import Held, Seat
from reconcile.stripe_shapes import StripeItem, StripeSubscription

# Nobody's members activate themselves into more seats than this.
MOST_AUTO_ADDED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A subscription as Stripe told it, when by Stripe's clock, and how sure that is.

    Only what was `fetched` may be written from: our last write may have overtaken a snapshot on its
    way.
    """

    subscription: StripeSubscription
    as_of: datetime
    api_version: str | None
    fetched: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Where a subscription belongs, after it was recorded."""

    organization: Organization
    problems: Mapping[str, ItemProblem]


def organization_of(
    session: Session, services: Services, subscription: StripeSubscription
) -> Organization | None:
    """Return who the subscription is of: by its metadata, else by its customer; None: nobody's.

    Where the customer is nobody's any more, it stays with whom it was of: they have another one by
    now, and what is over is to be over for them.
    """
    named = subscription.metadata.get(services.settings.organization_metadata_key)
    if named:
        return roster_store.organization(session, named)
    if found := roster_store.organization_of_customer(session, subscription.customer_id):
        return found
    held = subscriptions.held(session, subscription.id)
    return roster_store.organization(session, held.organization_id) if held else None


def concerns_us(
    session: Session,
    services: Services,
    subscription: StripeSubscription,
    organization: Organization | None,
) -> bool:
    """Return whether it is about seats at all: an account may sell other things as well."""
    if subscription.metadata.get(services.settings.organization_metadata_key):
        return True
    catalog = services.catalog
    if any(
        catalog.seat_for_price(i.price_id) or catalog.is_fee(i.price_id) for i in subscription.items
    ):
        return True
    if _concerned_us(session, subscription):
        return True
    # A plan that includes its seats need have no price of ours to be known by.
    return organization is not None and (
        services.catalog.plan(organization.plan).rules.policy == SeatPolicy.INCLUDED
    )


def _concerned_us(session: Session, subscription: StripeSubscription) -> bool:
    """Return whether it had seats: somebody took the item out, or changed its price.

    They are to hear of it; also that it is over, and when what was found of it is. Recorded is more
    than that: of a plan that includes its seats also what is sold beside them was.
    """
    held = subscriptions.held(session, subscription.id)
    if held is None:
        return False
    scope = Scope(organization_id=held.organization_id, subscription_id=held.id)
    return bool(
        subscriptions.seats_of(session, subscription.id)
        or subscription.status in subscriptions.ENDED
        or findings.open_of(session, scope)
    )


def record(
    session: Session, services: Services, seen: Seen, organization: Organization
) -> Recorded:
    """Write the subscription and its seats as seen, and return what is wrong with its items."""
    subscription = seen.subscription
    subscriptions.believe(
        session,
        subscription,
        organization_id=organization.id,
        member_id=subscription.metadata.get(services.settings.member_metadata_key),
        as_of=seen.as_of,
        api_version=seen.api_version,
    )
    if subscription.status in subscriptions.ENDED:
        subscriptions.mark_deleted(session, subscription.id, seen.as_of)
    bought = subscriptions.seats_of(session, subscription.id)
    found: dict[str, StripeItem] = {}
    problems: dict[str, ItemProblem] = {}
    for item in subscription.items:
        seat_type, problem = _seat_of(services.catalog, organization.plan, bought, item)
        if problem is None and item.currency != subscription.currency:
            # A price of several currencies: the catalog's amounts are of its own.
            problem = ItemProblem.WRONG_CURRENCY
        if seat_type is None:
            continue
        if seat_type in found:
            problem = ItemProblem.DUPLICATE
        found.setdefault(seat_type, item)
        if problem:
            problems[seat_type] = problem
    for seat_type, item in found.items():
        subscriptions.see_seat(
            session,
            subscription.id,
            seat_type,
            item_id=item.id,
            price_id=item.price_id,
            stripe_quantity=item.quantity,
        )
    rules = services.catalog.plan(organization.plan).rules
    member_id = subscription.metadata.get(services.settings.member_metadata_key)
    # Bought is what the contract says (A6): not what is first seen in Stripe, nor what was agreed
    # before the seats came here.
    agreed = _agreed(session, rules, organization.id, member_id)
    subscriptions.write_quantities(session, subscription.id, agreed)
    for seat_type in bought.keys() - found.keys():
        if seat_type in rules.seat_types and rules.policy != SeatPolicy.INCLUDED:
            subscriptions.miss_seat(session, subscription.id, seat_type)
        else:
            # It went with the plan it was of. Kept, it would be missed in Stripe for ever.
            subscriptions.drop_seat(session, subscription.id, seat_type)
    return Recorded(organization=organization, problems=problems)


def _agreed(
    session: Session, rules: PlanRules, organization_id: str, member_id: str | None
) -> Mapping[str, int]:
    """Return what a contract says is bought, by seat type; nothing where there is none.

    An old one says nothing of the plan that came after it, and none does of a member's own seat.
    """
    if rules.policy != SeatPolicy.CONTRACT or member_id:
        return {}
    contract = contracts.in_force(session, organization_id)
    return contract.quantities if contract else {}


def _seat_of(
    catalog: Catalog, plan: str, bought: Mapping[str, Seat], item: StripeItem
) -> tuple[str | None, ItemProblem | None]:
    """Return the seat type an item is the seats of, if any, and why it cannot be."""
    if catalog.is_fee(item.price_id):
        return None, None  # whatever seats the item was before: a plan may include them
    known = catalog.seat_for_price(item.price_id)
    if known is None or known.plan != plan:
        before = next((s.seat_type for s in bought.values() if s.item_id == item.id), None)
        seat_type = before or (known.seat_type if known else None)
        return seat_type, ItemProblem.WRONG_PRICE if seat_type else None
    if item.metered:
        return known.seat_type, ItemProblem.METERED
    if item.currency != known.currency:
        return known.seat_type, ItemProblem.WRONG_CURRENCY
    return known.seat_type, None


def of_subscription(
    session: Session,
    services: Services,
    subscription_id: str,
    problems: Mapping[str, ItemProblem],
    *,
    fetched: bool,
) -> tuple[SubscriptionFacts, Counts]:
    """Return the facts of a recorded subscription, and the active counts they were read with."""
    held = subscriptions.held(session, subscription_id)
    assert held is not None
    organization = roster_store.organization(session, held.organization_id)
    assert organization is not None
    rules = services.catalog.plan(organization.plan).rules
    counts = services.roster.counts(session, organization.id)
    standing = standing_of(
        held.status,
        collection_paused=held.collection_paused,
        canceling=held.cancel_at_period_end,
    )
    live = live_with_seats(session, rules, held)
    elsewhere = bool(live) and held.id not in live
    # Of several subscriptions, or where no seats are at all, nobody knows which is to have them.
    only = live == {held.id}
    agreed = _agreed(session, rules, held.organization_id, held.member_id) if only else {}
    facts = SubscriptionFacts(
        subscription_id=held.id,
        organization_id=organization.id,
        rules=rules,
        standing=standing,
        seats=()
        if elsewhere and Standing.DEAD not in standing
        else _seats(session, services, held, rules, counts, problems, agreed),
        live_subscriptions=len(live),
        succeeded=Standing.DEAD in standing and elsewhere,
        adjustment_in_flight=adjustments.pending(session, held.id) is not None,
        pending_update=held.has_pending_update,
        settling=not fetched and _settling(services, held),
        schedule_managed=held.schedule_id is not None,
        counts_problem=counts.problem,
        roster_unreadable=counts.roster_unreadable,
        member_active=own_seats.is_active(session, organization.id, held.member_id)
        if rules.policy == SeatPolicy.OWN_SEAT and held.member_id and services.roster.view is None
        else None,
    )
    return facts, counts


def _settling(services: Services, held: Held) -> bool:
    """A snapshot within the window may show the time before our write; a fetch does not."""
    window = timedelta(seconds=services.settings.settling_window_s)
    return held.written_at is not None and services.clock() - held.written_at < window


def _seats(  # noqa: PLR0913, PLR0917 - what the seats of one subscription are put together from
    session: Session,
    services: Services,
    held: Held,
    rules: PlanRules,
    counts: Counts,
    problems: Mapping[str, ItemProblem],
    agreed: Mapping[str, int],
) -> tuple[SeatFacts, ...]:
    bought = subscriptions.seats_of(session, held.id)
    automatic = roster_store.auto_add_settings(session, held.organization_id)
    if rules.policy in (SeatPolicy.OWN_SEAT, SeatPolicy.INCLUDED):
        names = set(bought)
    else:
        names = set(rules.seat_types) | set(bought)
    found = []
    for seat_type in sorted(names):
        seat = bought.get(seat_type)
        auto = automatic.get(seat_type)
        found.append(
            SeatFacts(
                seat_type=seat_type,
                # Nobody is active in a type that the plan lacks: counts would not be believed.
                # Nor is that sudden.
                active=None
                if counts.by_seat_type is None
                else counts.by_seat_type.get(seat_type, 0),
                quantity=seat.quantity if seat else agreed.get(seat_type, 0),
                stripe_quantity=seat.stripe_quantity if seat else None,
                active_before=seat.active_seen if seat and seat_type in rules.seat_types else None,
                auto_add=bool(auto and auto.enabled),
                auto_add_ceiling=ceiling_of(services, seat, auto),
                item_problem=problems.get(seat_type),
                awaited=seat is None and agreed.get(seat_type, 0) > 0,
            )
        )
    return tuple(found)


def ceiling_of(services: Services, seat: Seat | None, auto: AutoAdd | None) -> int | None:
    """Return the auto-add ceiling in seats: the lower of the two settings, money converted."""
    if auto is None:
        return None
    ceilings = [auto.ceiling_quantity] if auto.ceiling_quantity is not None else []
    if auto.ceiling_minor is not None and seat is not None:
        known = services.catalog.seat_for_price(seat.price_id)
        # Without a price nothing says what a seat costs: then nothing is added by itself.
        ceilings.append(_most_for(known.model, auto.ceiling_minor) if known else 0)
    return min(ceilings, default=None)


def _most_for(model: PriceModel, ceiling_minor: int) -> int:
    # By trying: with volume tiers more seats may cost less, so there is nothing to divide by.
    affordable = (n for n in range(MOST_AUTO_ADDED, 0, -1) if model.full_minor(n) <= ceiling_minor)
    return next(affordable, 0)


def seated(known: Iterable[Held], seats: Mapping[str, Mapping[str, Seat]]) -> list[Held]:
    """Return those of the subscriptions that the seats are bought on, in the order given.

    One, where nothing is amiss. None that was left unpaid beside a live one; and none that Stripe
    has no item of beside one that has: the seats went there, and something else lives on.
    """
    found = [each for each in known if seats.get(each.id)]
    found = [each for each in found if Standing.DEAD not in standing_of(each.status)] or found
    return [each for each in found if _in_stripe(seats[each.id])] or found


def _in_stripe(seats: Mapping[str, Seat]) -> bool:
    return any(seat.stripe_quantity is not None for seat in seats.values())


def live_with_seats(session: Session, rules: PlanRules, held: Held) -> frozenset[str]:
    """Return the live subscriptions that the seats are bought on, where there may be one.

    Of the member or the organization that this one is of; without it, they are bought elsewhere.
    """
    if rules.policy == SeatPolicy.INCLUDED:
        return frozenset({held.id})
    if rules.policy == SeatPolicy.OWN_SEAT and held.member_id:
        known = subscriptions.of_member(session, held.organization_id, held.member_id)
    else:
        known = subscriptions.of_organization(session, held.organization_id)
    live = [
        other
        for other in known
        if Standing.DEAD not in standing_of(other.status)
        and (rules.policy != SeatPolicy.OWN_SEAT or other.member_id == held.member_id)
    ]
    seats = {other.id: subscriptions.seats_of(session, other.id) for other in live}
    return frozenset(other.id for other in seated(live, seats))


def of_organization(
    session: Session, services: Services, organization: Organization
) -> OrganizationFacts:
    """Return the facts of an organization beside any one subscription of it."""
    rules = services.catalog.plan(organization.plan).rules
    counts = services.roster.counts(session, organization.id)
    by_seat_type = counts.by_seat_type or {}
    members: frozenset[str] = frozenset()
    paid: frozenset[str] = frozenset()
    if rules.policy == SeatPolicy.OWN_SEAT:
        members = own_seats.active_members(session, organization.id)
        paid = frozenset(
            held.member_id
            for held in subscriptions.of_organization(session, organization.id)
            if held.member_id and is_paid(standing_of(held.status))
        )
    return OrganizationFacts(
        organization_id=organization.id,
        rules=rules,
        active={name: by_seat_type.get(name) for name in rules.seat_types},
        counts_problem=counts.problem,
        roster_unreadable=counts.roster_unreadable,
        active_members=members,
        paid_members=paid,
        contract_end=_contract_end(session, services, organization.id, rules),
    )


def _contract_end(
    session: Session, services: Services, organization_id: str, rules: PlanRules
) -> ContractEnd | None:
    """Return the end of the contract in force once it is near, by the calendar of both parties."""
    if rules.policy != SeatPolicy.CONTRACT:
        return None
    contract = contracts.in_force(session, organization_id)
    if contract is None or contract.ends_at is None:
        return None
    left = contract.ends_at - services.clock()
    if left > timedelta(days=services.settings.contract_notice_days):
        return None
    on = contract.ends_at.astimezone(UTC).date().isoformat()
    return ContractEnd(on=on, days_left=left.days if left > timedelta() else None)
