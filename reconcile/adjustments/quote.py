"""What a person's change would cost: in figures to the minor unit, and in words (B1)."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime

import orjson

from reconcile.adjustments.money import written
from reconcile.catalog import Catalog
from reconcile.policy.seat_change import ChangeFacts, Wanted, describe_change
from reconcile.policy.values import Change, Proration, SubscriptionFacts
from reconcile.store.adjustments import Intent
from reconcile.stripe_shapes import StripeSubscription


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What a person agreed to: hand it back to `apply` as it came from `preview`."""

    fingerprint: str
    prorated_from: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a change would do. Amounts in minor units of `currency`.

    `total_minor` is the signed total of one update, before the customer's balance: positive is
    billed, negative is credited. `due_now_minor` is what is charged today. `at_renewal` is set
    where nothing changes before the next period.
    """

    words: str
    currency: str
    interval: str
    before: Mapping[str, int]
    after: Mapping[str, int]
    plan_total_before_minor: int
    plan_total_minor: int
    total_minor: int
    starting_balance_minor: int
    due_now_minor: int
    charged_now: bool
    at_renewal: datetime | None
    confirmation: Confirmation


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything one request is decided from, read just now."""

    subscription: StripeSubscription
    known: SubscriptionFacts
    plan: str
    facts: ChangeFacts


def quote(catalog: Catalog, case: Case, wanted: Wanted, change: Change, intent: Intent) -> Preview:
    """Return what the prepared change would cost."""
    before = {seat.seat_type: seat.stripe_quantity or 0 for seat in case.known.seats}
    after = before | dict(change.quantities)
    subscription, money = case.subscription, intent.preview or {}
    interval = change.interval or case.facts.interval or "month"
    total_before = _plan_total(catalog, case, before, case.facts.interval or interval)
    total_after = _plan_total(catalog, case, after, interval)
    at_renewal = subscription.period_end if change.at_renewal else None
    total = int(money.get("total_minor", 0))
    prorated = intent.proration_behavior != Proration.NONE
    found = Preview(
        words="",
        currency=subscription.currency,
        interval=interval,
        before=before,
        after=after,
        plan_total_before_minor=total_before,
        plan_total_minor=total_after,
        total_minor=total,
        starting_balance_minor=int(money.get("starting_balance_minor", 0)),
        due_now_minor=int(money.get("amount_due_minor", 0)),
        charged_now=intent.proration_behavior == Proration.CHARGE_NOW,
        at_renewal=at_renewal,
        confirmation=Confirmation(
            fingerprint=fingerprint_of(case, wanted, intent),
            prorated_from=intent.proration_date if prorated else None,
        ),
    )
    return replace(found, words=_words(case, found))


def _words(case: Case, found: Preview) -> str:
    """Say it as the buyer reads it before saving (B1)."""
    changes = describe_change(case.facts.rules, found.before, found.after)
    total = written(found.plan_total_minor, found.currency)
    said = [f"Change: {changes}." if changes else f"Change: billed each {found.interval}."]
    if found.interval == (case.facts.interval or found.interval):
        difference = found.plan_total_minor - found.plan_total_before_minor
        more = written(difference, found.currency, signed=True)
        said.append(f"New plan total: {total}/{found.interval} ({more}/{found.interval}).")
    else:
        said.append(f"New plan total: {total}/{found.interval}.")
    amount = written(abs(found.total_minor), found.currency)
    if found.at_renewal:
        said.append(f"It takes effect on {found.at_renewal:%d %b %Y}; nothing is billed now.")
    elif found.charged_now and found.total_minor >= 0:
        due = written(found.due_now_minor, found.currency)
        said.append(f"Stripe will bill {amount} for the rest of this cycle, {due} due now.")
    elif found.total_minor < 0:
        said.append(f"{amount} is credited on the next invoice; nothing is refunded.")
    else:
        said.append("Nothing is billed now.")
    return " ".join(said)


def _plan_total(catalog: Catalog, case: Case, quantities: Mapping[str, int], interval: str) -> int:
    """Return what a full period costs: every seat type and the plan's own fees, minor units."""
    currency = case.subscription.currency
    total = sum(
        catalog.price_of(case.plan, seat_type, interval, currency).model.full_minor(quantity)
        for seat_type, quantity in quantities.items()
        if quantity
    )
    fees = [item for item in case.subscription.items if catalog.is_fee(item.price_id)]
    for price in catalog.plan(case.plan).prices:
        if fees and (price.seat_type, price.interval, price.currency) == (None, interval, currency):
            total += price.model.full_minor(1)
    return total


def fingerprint_of(case: Case, wanted: Wanted, intent: Intent) -> str:
    """Return a digest of all that the previewed amounts depend on."""
    seen = {
        "subscription": case.subscription.id,
        "wanted": plain(wanted),
        "active": {seat.seat_type: seat.active for seat in case.known.seats},
        "changes": [change.as_json() for change in intent.changes],
        "total": (intent.preview or {}).get("total_minor"),
        "period": [case.subscription.period_start, case.subscription.period_end],
    }
    return hashlib.sha256(orjson.dumps(seen, option=orjson.OPT_SORT_KEYS)).hexdigest()


def plain(wanted: Wanted) -> dict[str, object]:
    """Return the request as JSON holds it."""
    return {
        "quantities": dict(wanted.quantities),
        "interval": wanted.interval,
        "moves": [asdict(move) for move in wanted.moves],
        "by": wanted.by.value,
        "approval": wanted.approval,
    }
