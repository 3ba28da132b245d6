"""What a person's change would cost: in figures to the minor unit, and in words (B1).

Stripe's preview is where every billed figure comes from; a plan's totals are list prices of the
catalog, before discounts and added tax, and the words say so where there are any.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from reconcile.adjustments.case import Case
from reconcile.adjustments.money import written
from reconcile.catalog import Catalog
from reconcile.policy.observing import label_of
from reconcile.policy.seat_change import Move, Requester, Wanted, describe_change
from reconcile.policy.values import Change, Keep, Proration
from reconcile.store.adjustments import Intent


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatQuote:
    """One seat type before and after, in whole seats."""

    seat_type: str
    label: str
    before: int
    after: int

    @property
    def change(self) -> int:
        """Seats more, or fewer when it is negative."""
        return self.after - self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteLine:
    """One line that the change brings, in minor units, as Stripe words it."""

    description: str | None
    quantity: int | None
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a change would do. Amounts in minor units of `currency`.

    `total_minor` is the signed total of one update, before the customer's balance: positive is
    billed, negative is credited. `subtotal_minor` is it before discounts shown and added tax;
    `tax_minor` all of the tax. Discounts in force (`discounted`) are mostly folded into the lines.
    `due_now_minor` is what is charged today. `charged_at` is when the amount is billed or credited,
    None where there is none; `at_renewal` is set where nothing changes before the next period.
    """

    words: str
    currency: str
    interval_before: str
    interval: str
    seats: tuple[SeatQuote, ...]
    moves: tuple[Move, ...]
    plan_total_before_minor: int
    plan_total_minor: int
    subtotal_minor: int
    discount_minor: int
    tax_minor: int
    total_minor: int
    starting_balance_minor: int
    due_now_minor: int
    discounted: bool
    taxed: bool
    charged_now: bool
    charged_at: datetime | None
    at_renewal: datetime | None
    lines: tuple[QuoteLine, ...]

    @property
    def plan_difference_minor(self) -> int:
        """How much more a period costs from then on; of another interval it is not comparable."""
        return self.plan_total_minor - self.plan_total_before_minor


def quote(
    catalog: Catalog, case: Case, wanted: Wanted, change: Change | Keep, intent: Intent | None
) -> Quote:
    """Return what the prepared change would cost; without an intent Stripe need not change."""
    before = {seat.seat_type: seat.stripe_quantity or 0 for seat in case.known.seats}
    changed = change if isinstance(change, Change) else None
    after = before | dict(changed.quantities if changed else {})
    was = case.facts.interval or "month"
    interval = (changed.interval if changed else None) or was
    money: Mapping[str, Any] = (intent.preview if intent else None) or {}
    behavior = intent.proration_behavior if intent else Proration.NONE
    period_end = case.subscription.period_end
    return _in_words(
        case,
        wanted,
        Quote(
            words="",
            currency=case.subscription.currency,
            interval_before=was,
            interval=interval,
            seats=tuple(
                SeatQuote(
                    seat_type=seat_type,
                    label=label_of(case.facts.rules, seat_type),
                    before=before[seat_type],
                    after=after[seat_type],
                )
                for seat_type in sorted(before)
            ),
            moves=wanted.moves,
            plan_total_before_minor=_plan_total(catalog, case, before, was),
            plan_total_minor=_plan_total(catalog, case, after, interval),
            subtotal_minor=money.get("subtotal_minor", 0),
            discount_minor=money.get("discount_minor", 0),
            tax_minor=money.get("tax_minor", 0),
            total_minor=money.get("total_minor", 0),
            starting_balance_minor=money.get("starting_balance_minor", 0),
            due_now_minor=money.get("amount_due_minor", 0),
            discounted=case.subscription.discounted or bool(money.get("discounted")),
            taxed=case.subscription.taxed or bool(money.get("tax_minor")),
            charged_now=behavior == Proration.CHARGE_NOW,
            charged_at={
                Proration.CHARGE_NOW: intent.proration_date if intent else None,
                Proration.NEXT_INVOICE: period_end,
            }.get(Proration(behavior)),
            at_renewal=period_end if changed and changed.at_renewal else None,
            lines=tuple(
                QuoteLine(
                    description=line["description"],
                    quantity=line["quantity"],
                    amount_minor=line["amount_minor"],
                )
                for line in money.get("lines", ())
            ),
        ),
    )


def _in_words(case: Case, wanted: Wanted, found: Quote) -> Quote:
    """Say it as the buyer reads it before saving (B1)."""
    said = [_change_in_words(case, wanted, found), _plan_in_words(found), _bill_in_words(found)]
    return replace(found, words=" ".join(said))


def _change_in_words(case: Case, wanted: Wanted, found: Quote) -> str:
    before = {seat.seat_type: seat.before for seat in found.seats}
    after = {seat.seat_type: seat.after for seat in found.seats}
    parts = [describe_change(case.facts.rules, before, after)]
    if found.interval != found.interval_before:
        parts.append(f"billed each {found.interval}")
    if wanted.moves:
        parts.append(f"{len(wanted.moves)} member{'s' * (len(wanted.moves) != 1)} moved")
    return f"Change: {', '.join(part for part in parts if part)}."


def _plan_in_words(found: Quote) -> str:
    total = f"{written(found.plan_total_minor, found.currency)}/{found.interval}"
    without = " and ".join(
        word for word, so in (("discounts", found.discounted), ("tax", found.taxed)) if so
    )
    before = f", before {without}" if without else ""
    if found.interval != found.interval_before:
        return f"New plan total: {total}{before}."
    more = written(found.plan_difference_minor, found.currency, signed=True)
    return f"New plan total: {total} ({more}/{found.interval}){before}."


def _bill_in_words(found: Quote) -> str:
    amount = written(abs(found.total_minor), found.currency)
    if found.tax_minor:
        amount += f" ({written(abs(found.tax_minor), found.currency)} of it tax)"
    if found.at_renewal:
        return f"It takes effect on {found.at_renewal:%d %b %Y}; nothing is billed now."
    if found.total_minor < 0:
        return f"{amount} is credited on the next invoice; nothing is refunded."
    if not found.charged_now and found.total_minor:
        # Fewer seats cost more where they fall short of a volume price.
        return f"{amount} is billed on the next invoice; nothing is billed now."
    if not found.charged_now:
        return "Nothing is billed now."
    due = written(found.due_now_minor, found.currency)
    what = "for the rest of this cycle"
    if found.interval != found.interval_before:
        what = f"for the {found.interval}, less the unused time of the old price"
    return f"Stripe will bill {amount} {what}, {due} due now."


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


def fingerprint_of(case: Case, wanted: Wanted, intent: Intent | None) -> str:
    """Return a digest of what the shown amounts depend on: roster, quantities, prices, money."""
    money: Mapping[str, Any] = (intent.preview if intent else None) or {}
    seen = {
        "subscription": case.subscription.id,
        "wanted": plain(wanted),
        "active": {seat.seat_type: seat.active for seat in case.known.seats},
        "seats": {seat.seat_type: seat.stripe_quantity for seat in case.known.seats},
        "changes": [change.as_json() for change in intent.changes] if intent else [],
        "behavior": intent.proration_behavior if intent else None,
        "money": {
            name: money.get(name)
            for name in ("total_minor", "starting_balance_minor", "amount_due_minor")
        },
        "period": [case.subscription.period_start, case.subscription.period_end],
    }
    return hashlib.sha256(orjson.dumps(seen, option=orjson.OPT_SORT_KEYS)).hexdigest()


def plain(wanted: Wanted) -> dict[str, Any]:
    """Return the request as JSON holds it."""
    return {
        "quantities": dict(wanted.quantities),
        "interval": wanted.interval,
        "moves": [asdict(move) for move in wanted.moves],
        "by": wanted.by.value,
        "approval": wanted.approval,
    }


def wanted_of(raw: Mapping[str, Any]) -> Wanted:
    """Return the request that JSON holds."""
    return Wanted(
        quantities=raw["quantities"],
        interval=raw["interval"],
        moves=tuple(Move(**move) for move in raw["moves"]),
        by=Requester(raw["by"]),
        approval=raw["approval"],
    )
