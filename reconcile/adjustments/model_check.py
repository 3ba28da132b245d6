"""What Stripe prorated, held against our own model: list prices by the second, rounded once a line.

The model knows the catalog's prices and nothing of discounts or of what was edited in the
dashboard. Two things it meets there are no mistakes of Stripe's:

- a discount is folded into the amount of a proration, and never raises it;
- with flexible billing a credit takes back what was really charged, at the discount of then, for
  the seats of then: nothing for seats that were added with `none`.

So a line that is not at list price is looked at again: a charge may be lower under a discount, a
credit has to be the rest of a charge that the subscription's invoices show. Tax is left out on
both sides. Reads Stripe only for that second look; writes nothing.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from reconcile.catalog import Catalog
from reconcile.policy import proration
from reconcile.policy.proration import TOLERANCE_MINOR, ItemChange, ItemState, Period
from reconcile.store.adjustments import Adjustment, SeatChange
from reconcile.stripe_api import StripeApi
from reconcile.stripe_shapes import InvoiceLine, StripeSubscription

# Clocks differ: the invoice of a period may be dated a little before it begins.
_CLOCKS_DIFFER = timedelta(days=1)


def difference(
    api: StripeApi,
    catalog: Catalog,
    adjustment: Adjustment,
    subscription: StripeSubscription,
    lines: Iterable[InvoiceLine],
) -> str | None:
    """Return how the adjustment's own proration lines differ from the model, or None.

    None as well where the model has nothing to go by: prices the catalog does not name, and a
    change of interval, of which billing mode and Stripe say what period it is prorated over.
    """
    start, end, at = subscription.period_start, subscription.period_end, adjustment.proration_date
    if adjustment.kind == "interval" or start is None or end is None or at is None:
        return None
    if at < start or at >= end:
        return None
    lines = tuple(line for line in lines if line.amount_minor)
    told = []
    for change in adjustment.changes:
        expected = _expected_minor(catalog, change, Period(start=start, end=end), at)
        if expected is None:
            return None
        own = [line for line in lines if _is_of(change, line)]
        charged = [line.amount_minor for line in own if line.amount_minor > 0]
        charge = [amount for amount in expected if amount > 0]
        less = _discounted(adjustment) and sum(charged) <= sum(charge) + TOLERANCE_MINOR
        if (why := proration.disagreement(charge, charged)) and not less:
            told.append(why)
        credited = [line.amount_minor for line in own if line.amount_minor < 0]
        credit = [amount for amount in expected if amount < 0]
        if why := proration.disagreement(credit, credited):
            paid, tolerance = _paid_ahead_minor(api, subscription, change, lines, start, at)
            if all(abs(each + sum(credited)) > tolerance for each in paid):
                told.append(why)
    return "; ".join(told) or None


def _discounted(adjustment: Adjustment) -> bool:
    return bool((adjustment.preview or {}).get("discounted"))


def _expected_minor(
    catalog: Catalog, change: SeatChange, period: Period, at: datetime
) -> tuple[int, ...] | None:
    price = catalog.seat_for_price(change.price_id)
    if price is None:
        return None

    def state(quantity: int) -> ItemState:
        return ItemState(price=price.model, quantity=quantity, period=period)

    before = state(change.from_quantity) if change.item_id else None
    lines = proration.expected_lines_minor(
        [ItemChange(before=before, after=state(change.to_quantity))], at
    )
    # An item of no seats, or a price of nothing, may or may not have a line of nothing.
    return tuple(amount for amount in lines if amount)


def _is_of(change: SeatChange, line: InvoiceLine) -> bool:
    if change.item_id is not None and line.item_id is not None:
        return line.item_id == change.item_id
    return line.price_id == change.price_id


def _paid_ahead_minor(  # noqa: PLR0913, PLR0917 - one item at one moment
    api: StripeApi,
    subscription: StripeSubscription,
    change: SeatChange,
    own: Collection[InvoiceLine],
    since: datetime,
    at: datetime,
) -> tuple[tuple[int, int], int]:
    """Return what was charged for the item's time after `at` and not taken back, and how exactly.

    Minor units: each line was rounded once by Stripe, and its rest is rounded once here. Twice:
    without and with what was prorated in the very second of `at`, before us or after.
    """
    invoices = api.invoices_of(subscription.id, since=since - _CLOCKS_DIFFER)
    lines = [line for i in invoices if i.status != "void" for line in i.lines]
    lines += api.pending_items(subscription.customer_id)
    ours = {line.id for line in own}
    rests = [
        (
            proration.prorated_minor(
                line.amount_minor - line.discount_minor,
                Period(start=line.period_start, end=line.period_end),
                at,
            ),
            line.proration and line.period_start == at,
        )
        for line in lines
        if line.item_id == change.item_id
        and line.id not in ours
        and line.period_start <= at < line.period_end
    ]
    before = sum(rest for rest, beside in rests if not beside)
    return (before, sum(rest for rest, _ in rests)), max(len(rests), TOLERANCE_MINOR)
