"""Credits and debits for items that change in the middle of a period, as invoice items.

Flexible mode credits what was really debited (`_debits`, written whenever an item is charged);
classic mode credits what the item says now. Always whole items: all of the old quantity out, all
of the new one in (recorded).
"""

from __future__ import annotations

from fractions import Fraction

from sandbox.billing import wording
from sandbox.billing.invoice import cycle_line, debit
from sandbox.billing.invoice_items import FROZEN, new_item, parent_of, pricing_of
from sandbox.billing.proration import period_at, prorated
from sandbox.objects.coupons import whole_amount
from sandbox.store import Obj
from sandbox.world import World


def credit(world: World, subscription: Obj, item: Obj, at: int, now: int) -> list[Obj]:
    """Credit items for the time after `at` of one item; not stored yet."""
    if "quantity" not in item:  # metered: paid for afterwards, so nothing to give back
        return []
    if subscription["billing_mode"]["type"] == "flexible":
        debits = [one for one in item["_debits"] if one["period"][1] > at]
    else:
        debits = [_as_it_stands(world, subscription, item)]
    return [_credit(world, subscription, item, one, (at, now)) for one in debits]


def _as_it_stands(world: World, subscription: Obj, item: Obj) -> Obj:
    source = item["_debits"][-1]["source"] if item["_debits"] else None
    period = (item["current_period_start"], item["current_period_end"])
    whole = whole_amount(world, subscription, item)
    span = whole_span(world, subscription, item, period)
    return debit(item, whole, span, period[0], source or {})


def whole_span(
    world: World, subscription: Obj, item: Obj, period: tuple[int, int]
) -> tuple[int, int]:
    """The full period that a part is measured against: `period`, unless it is a first, short one.

    A short period before a later anchor is a part of the full period that ends there, which is as
    long as the one that begins there (recorded: 31 days before an anchor in March).
    """
    anchor = subscription["billing_cycle_anchor"]
    if period != (subscription["start_date"], anchor):
        return period
    recurring = world.store.need("price", item["price"])["recurring"]
    after = period_at(anchor, recurring["interval"], recurring["interval_count"], anchor)
    return anchor - (after[1] - after[0]), anchor


def short_line(
    world: World, invoice: Obj, subscription: Obj, item: Obj, period: tuple[int, int]
) -> Obj:
    """The first, short time of an item before a later anchor, appended to the invoice."""
    line = cycle_line(world, invoice, subscription, item, period)
    whole = whole_amount(world, subscription, item)
    span = whole_span(world, subscription, item, period)
    amount = prorated(whole, *period, *span)
    product = world.store.need("product", line["pricing"]["price_details"]["product"])
    line.update(amount=amount, subtotal=amount, discountable=False)
    line["description"] = wording.short_period(item.get("quantity", 0), product["name"], period[0])
    line["pricing"]["unit_amount_decimal"] = None
    line["parent"]["subscription_item_details"]["proration"] = True
    item["_debits"] = [debit(item, whole, span, period[0], item["_debits"][0]["source"])]
    return line


def _credit(
    world: World, subscription: Obj, item: Obj, charged: Obj, moment: tuple[int, int]
) -> Obj:
    at, now = moment
    start, end = charged["period"]
    after = max(at, charged["start"])
    amount = prorated(-Fraction(*charged["whole"]), after, end, start, end)
    made = _item(world, subscription, item["id"], amount, (after, end, now))
    _of_price(world, made, charged["price"], charged["quantity"])
    product = world.store.need("product", made["pricing"]["price_details"]["product"])
    made["description"] = wording.unused(charged["quantity"], product["name"], after)
    made["_source"] = charged["source"] or None
    made["proration_details"]["credited_items"] = _credited(world, made["_source"])
    return made


def charge(  # noqa: PLR0913 - times go by name
    world: World, subscription: Obj, item: Obj, *, at: int, period: tuple[int, int], now: int
) -> Obj:
    """A debit item for `at` to the end of the period; the item remembers it. Not stored yet."""
    whole = whole_amount(world, subscription, item)
    span = whole_span(world, subscription, item, period)
    amount = prorated(whole, at, period[1], *span)
    quantity = item.get("quantity", 0)
    made = _item(world, subscription, item["id"], amount, (at, period[1], now))
    _of_price(world, made, item["price"], quantity)
    product = world.store.need("product", made["pricing"]["price_details"]["product"])
    made["description"] = wording.remaining(quantity, product["name"], at)
    item["_debits"].append(debit(item, whole, span, at, {"invoice_item": made["id"]}))
    return made


def _item(
    world: World, subscription: Obj, item_id: str, amount: int, times: tuple[int, int, int]
) -> Obj:
    start, end, now = times
    customer = world.store.need("customer", subscription["customer"])
    made = new_item(world, customer, amount=amount, currency=subscription["currency"], now=now)
    made["_subscription"] = subscription["id"]
    made["_subscription_item"] = item_id
    made["discountable"] = False
    made["frozen_fields"] = FROZEN
    made["parent"] = parent_of(subscription["id"], item_id)
    made["period"] = {"end": end, "start": start}
    made["proration"] = True
    return made


def _of_price(world: World, made: Obj, price_id: str, quantity: int) -> None:
    made["pricing"] = pricing_of(world.store.need("price", price_id), unit=False)
    made["quantity"], made["quantity_decimal"] = quantity, str(quantity)


def _credited(world: World, source: Obj | None) -> Obj | None:
    """Which charge a credit takes back, in the shape of invoice items."""
    if not source:
        return None
    found = charged_line(world, source)
    if found is None:
        return {"invoice_item": source["invoice_item"], "type": "invoice_item"}
    return {
        "invoice_line_item_details": {"invoice": found[0], "invoice_line_items": [found[1]]},
        "type": "invoice_line_items",
    }


def charged_line(world: World, source: Obj) -> tuple[str, str] | None:
    """The invoice and line a charge is on by now; None while it is pending."""
    if "line" in source:
        return source["invoice"], source["line"]
    item = world.store.get("invoiceitem", source["invoice_item"])
    if item is None or item["invoice"] is None:
        return None
    invoice = world.store.get("invoice", item["invoice"])
    for line in invoice["lines"] if invoice else ():
        details = line["parent"]["subscription_item_details"]
        if details and details["invoice_item"] == item["id"]:
            return item["invoice"], line["id"]
    return None
