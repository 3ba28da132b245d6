"""From a decision to the one update that Stripe will be sent, previewed and pinned to a second.

Only reads Stripe. What is prepared here is recorded and sent by `adjusting`.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from reconcile.actor import TRUEUP, Actor
from reconcile.adjustments import invoice_check
from reconcile.catalog import Catalog, NoSuchPrice, Plan
from reconcile.errors import RetryLater
from reconcile.policy.seat_change import Move
from reconcile.policy.values import Change, Proration
from reconcile.services import Services
from reconcile.store import adjustments as store
from reconcile.store import roster, subscriptions
from reconcile.store.adjustments import FEE, Adjustment, Intent, SeatChange
from reconcile.stripe_api import ItemUpdate, SubscriptionUpdate
from reconcile.stripe_shapes import StripeItem, StripeSubscription


class PeriodTurning(RetryLater):
    """The billing period is ending this moment: a change is prorated in the next one."""


def now_of(services: Services, subscription: StripeSubscription) -> datetime:
    """Return the present of the subscription: its test clock's, or ours."""
    if subscription.test_clock_id:
        return services.stripe.test_clock_now(subscription.test_clock_id)
    return services.clock()


def prepare(  # noqa: PLR0913 - one change, all by name
    services: Services,
    subscription: StripeSubscription,
    change: Change,
    *,
    trigger: str,
    active: Mapping[str, int],
    actor: Actor = TRUEUP,
    at: datetime | None = None,
    moves: tuple[Move, ...] = (),
) -> Intent:
    """Return the change with its items, its pinned proration date and Stripe's preview of it.

    `subscription` was fetched just now; `active` are the counts the change was decided with, after
    its `moves`; `actor` is the person who asked for it, if one did. Reads Stripe, so no transaction
    may be open. Raises PeriodTurning, NoSuchPrice, StripeRejected, RetryLater.
    """
    with services.sessions() as session:
        held = subscriptions.held(session, subscription.id)
        bought = subscriptions.seats_of(session, subscription.id)
        assert held is not None, "an adjustment is of a recorded subscription"
        organization = roster.organization(session, held.organization_id)
    assert organization is not None
    plan = services.catalog.plan(organization.plan)
    changes = _seat_changes(services.catalog, plan, subscription, change, bought, active)
    charges = change.proration != Proration.NONE
    intent = Intent(
        subscription_id=subscription.id,
        organization_id=held.organization_id,
        kind="interval" if change.interval else "quantities",
        trigger=trigger,
        actor=actor,
        reason=change.reason,
        changes=changes,
        moves=moves,
        proration_behavior=change.proration.value,
        payment_behavior="error_if_incomplete"
        if change.proration == Proration.CHARGE_NOW and subscription.charges_automatically
        else None,
        # Kept where nothing is prorated, too: it tells which period the change was decided in.
        proration_date=(at or proration_date(services, subscription))
        if charges
        else _in_period(services, subscription),
    )
    if not charges:
        return intent
    with services.sessions() as session:
        taken = store.lines_beside(session, intent)
    preview = services.stripe.preview(subscription.id, update_of(intent))
    return invoice_check.with_preview(intent, subscription, preview, taken)


def proration_date(services: Services, subscription: StripeSubscription) -> datetime:
    """Return the second that a change made now is prorated from. Raises PeriodTurning."""
    now = _in_period(services, subscription)
    if subscription.period_end is not None and now >= subscription.period_end:
        raise PeriodTurning(subscription.id)
    return now


def _in_period(services: Services, subscription: StripeSubscription) -> datetime:
    """Return the present in whole seconds, not before the period that Stripe says has begun."""
    now = now_of(services, subscription).replace(microsecond=0)
    return max(now, subscription.period_start or now)


def _seat_changes(  # noqa: PLR0913, PLR0917 - what one change is put together from
    catalog: Catalog,
    plan: Plan,
    subscription: StripeSubscription,
    change: Change,
    bought: Mapping[str, subscriptions.Seat],
    active: Mapping[str, int],
) -> tuple[SeatChange, ...]:
    interval = change.interval or next((item.interval for item in subscription.items), None)
    found = []
    for seat_type, quantity in sorted(change.quantities.items()):
        seat = bought.get(seat_type)
        item = subscription.item(seat.item_id) if seat else None
        price_id = item.price_id if item else None
        if change.interval or item is None:
            price = catalog.price_of(plan.name, seat_type, str(interval), subscription.currency)
            price_id = price.id
        part = _part(seat_type, item, str(price_id), quantity, active[seat_type])
        found.append(replace(part, automatic=seat_type in change.automatic))
    if change.interval:
        found += _fees(catalog, plan, subscription, change.interval)
    return tuple(found)


def _fees(
    catalog: Catalog, plan: Plan, subscription: StripeSubscription, interval: str
) -> list[SeatChange]:
    """Return the plan's own fees: with a change of interval every item switches (B10)."""
    found = []
    for item in subscription.items:
        if not catalog.is_fee(item.price_id):
            continue
        for price in plan.prices:
            same = (price.seat_type, price.interval, price.currency)
            if same == (None, interval, subscription.currency):
                found.append(_part(FEE, item, str(price.id), item.quantity or 1, 0))
                break
        else:
            raise NoSuchPrice(f"a fee of {plan.name}, each {interval}")
    return found


def _part(
    seat_type: str, item: StripeItem | None, price_id: str, quantity: int, active: int
) -> SeatChange:
    return SeatChange(
        seat_type=seat_type,
        item_id=item.id if item else None,
        price_id=price_id,
        from_price_id=item.price_id if item else None,
        from_quantity=(item.quantity or 0) if item else 0,
        to_quantity=quantity,
        active=active,
    )


def update_of(
    of: Intent | Adjustment, floors: Mapping[str, int] | None = None
) -> SubscriptionUpdate:
    """Return the update that Stripe is sent; without `floors`, those it was decided with."""
    return SubscriptionUpdate(
        items=tuple(
            ItemUpdate(
                item_id=change.item_id,
                quantity=change.to_quantity,
                price_id=change.price_id if change.price_id != change.from_price_id else None,
                floor=(floors or {}).get(change.seat_type, change.active),
            )
            for change in of.changes
        ),
        proration_behavior=of.proration_behavior,
        # Stripe takes it only together with a proration.
        proration_date=of.proration_date if of.proration_behavior != Proration.NONE else None,
        payment_behavior=of.payment_behavior,
    )
