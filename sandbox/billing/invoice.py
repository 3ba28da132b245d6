"""Invoices from what they are made of: lines, totals, finalization.

Works on an invoice the caller is editing and stores it at the end. Charging is `payments`,
what an invoice means for its subscription is `standing`, HTTP is `invoices`.

Recorded: totals under the minimum charge are not charged but stay on the balance as owed; a
negative total becomes credit; both leave the invoice paid with nothing due.
"""

from __future__ import annotations

from fractions import Fraction

from sandbox.billing import wording
from sandbox.billing.invoice_items import pricing_of
from sandbox.billing.payments import open_payment
from sandbox.billing.proration import half_up, line_amount
from sandbox.objects.balance import move_balance
from sandbox.objects.coupons import in_force, shares, whole_amount
from sandbox.objects.tax_rates import taxes
from sandbox.store import Obj, copy
from sandbox.subscriptions.standing import after_paid
from sandbox.world import World

DRAFT_S = 3600  # an automatic draft is charged an hour after it was made (recorded)
# The smallest charge Stripe makes, by settlement currency; 50 for those not listed:
# https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
_MINIMUM_MINOR = {"gbp": 30, "mxn": 1000, "hkd": 400, "dkk": 250, "nok": 300, "sek": 300}


def new_invoice(  # noqa: PLR0913 - all by name
    world: World,
    customer: Obj,
    *,
    reason: str,
    currency: str,
    now: int,
    subscription: Obj | None = None,
) -> Obj:
    """An empty draft; not stored."""
    source = subscription or {"collection_method": "charge_automatically"}
    return {
        "id": world.store.new_id("invoice"),
        "object": "invoice",
        "_payment_intent": None,
        "account_country": "US",
        "account_name": "Trueup sandbox",
        "account_tax_ids": None,
        "amount_due": 0,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_remaining": 0,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": False,
            "liability": None,
            "provider": None,
            "status": None,
        },
        "automatically_finalizes_at": None,
        "billing_reason": reason,
        "collection_method": source["collection_method"],
        "created": now,
        "currency": currency,
        "custom_fields": None,
        "customer": customer["id"],
        "customer_account": None,
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": customer["shipping"],
        "customer_tax_exempt": customer["tax_exempt"],
        "customer_tax_ids": [],
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": list(source.get("default_tax_rates", [])),
        "description": None,
        "discounts": [],
        "due_date": None,
        "effective_at": None,
        "ending_balance": None,
        "footer": None,
        "from_invoice": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "lines": [],
        "livemode": False,
        "metadata": {},
        "next_payment_attempt": None,
        "number": None,
        "on_behalf_of": None,
        "parent": _parent(subscription),
        "payment_settings": {
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        "period_end": now,
        "period_start": now,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "starting_balance": 0,
        "statement_descriptor": None,
        "status": "draft",
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "subtotal": 0,
        "subtotal_excluding_tax": 0,
        "test_clock": customer["test_clock"],
        "total": 0,
        "total_discount_amounts": [],
        "total_excluding_tax": 0,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": now,
    }


def _parent(subscription: Obj | None) -> Obj | None:
    if subscription is None:
        return None
    return {
        "quote_details": None,
        "subscription_details": {
            "metadata": subscription["metadata"],
            "subscription": subscription["id"],
        },
        "type": "subscription_details",
    }


def new_line(world: World, invoice: Obj, *, amount: int, period: tuple[int, int]) -> Obj:
    """A bare line; not yet on the invoice."""
    return {
        "id": f"il_1{world.store.new_id('invoice')[4:]}",
        "object": "line_item",
        "_tax_rates": [],
        "amount": amount,
        "currency": invoice["currency"],
        "description": None,
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": invoice["id"],
        "livemode": False,
        "metadata": {},
        "parent": None,
        "period": {"end": period[1], "start": period[0]},
        "pretax_credit_amounts": [],
        "pricing": None,
        "quantity": 1,
        "quantity_decimal": "1",
        "subscription": None,
        "subtotal": amount,
        "taxes": [],
    }


def cycle_line(
    world: World, invoice: Obj, subscription: Obj, item: Obj, period: tuple[int, int]
) -> Obj:
    """A whole period of one item, appended to the invoice; the item remembers the debit."""
    price = world.store.need("price", item["price"])
    quantity = item.get("quantity", 0)
    whole = line_amount(price, quantity)
    product = world.store.need("product", price["product"])
    line = new_line(world, invoice, amount=half_up(whole), period=period)
    line["description"] = wording.ordinary(quantity, product, price)
    _of_subscription(line, subscription, item, price, quantity)
    invoice["lines"].append(line)
    source = {"invoice": invoice["id"], "line": line["id"]}
    charged = whole_amount(world, subscription, item)
    item["_debits"] = [debit(item, charged, period, period[0], source)]
    return line


def trial_line(
    world: World, invoice: Obj, subscription: Obj, item: Obj, period: tuple[int, int]
) -> Obj:
    """A trial period of one item: costs nothing and is remembered as nothing."""
    price = world.store.need("price", item["price"])
    product = world.store.need("product", price["product"])["name"]
    line = new_line(world, invoice, amount=0, period=period)
    line["description"] = wording.trial(item.get("quantity", 1), product)
    _of_subscription(line, subscription, item, price, item.get("quantity", 0))
    line["pricing"]["unit_amount_decimal"] = "0"
    invoice["lines"].append(line)
    item["_debits"] = []
    return line


def debit(item: Obj, whole: Fraction, period: tuple[int, int], start: int, source: Obj) -> Obj:
    """What an item was really charged: the whole line, its period, and where it is written."""
    return {
        "price": item["price"],
        "quantity": item.get("quantity", 0),
        "whole": [whole.numerator, whole.denominator],
        "period": list(period),
        "start": start,
        "source": source,
    }


def _of_subscription(line: Obj, subscription: Obj, item: Obj, price: Obj, quantity: int) -> None:
    line["pricing"] = pricing_of(price, unit=True)
    line["quantity"] = quantity
    line["quantity_decimal"] = str(quantity)
    line["subscription"] = subscription["id"]
    line["_tax_rates"] = item["tax_rates"] or subscription["default_tax_rates"]
    line["parent"] = _subscription_parent(subscription["id"], item["id"], proration=False)


def _subscription_parent(
    subscription_id: str,
    item_id: str,
    *,
    proration: bool,
    invoice_item: str | None = None,
) -> Obj:
    return {
        "invoice_item_details": None,
        "subscription_item_details": {
            "invoice_item": invoice_item,
            "proration": proration,
            "proration_details": {"credited_items": None},
            "subscription": subscription_id,
            "subscription_item": item_id,
        },
        "type": "subscription_item_details",
    }


def item_line(world: World, invoice: Obj, item: Obj) -> None:
    """Move a pending invoice item onto the invoice."""
    period = (item["period"]["start"], item["period"]["end"])
    line = new_line(world, invoice, amount=item["amount"], period=period)
    line["description"] = item["description"]
    line["discountable"] = item["discountable"]
    line["metadata"] = item["metadata"]
    line["pricing"] = item["pricing"]
    line["quantity"], line["quantity_decimal"] = item["quantity"], item["quantity_decimal"]
    line["subscription"] = item["_subscription"]
    line["_tax_rates"] = item["tax_rates"] or invoice["default_tax_rates"]
    if item["_subscription_item"] is not None:
        line["parent"] = _subscription_parent(
            item["_subscription"],
            item["_subscription_item"],
            proration=item["proration"],
            invoice_item=item["id"],
        )
    else:
        line["parent"] = {
            "invoice_item_details": {
                "invoice_item": item["id"],
                "proration": item["proration"],
                "proration_details": {"credited_items": None},
                "subscription": item["_subscription"],
            },
            "subscription_item_details": None,
            "type": "invoice_item_details",
        }
    invoice["lines"].append(line)
    world.store.put({**item, "invoice": invoice["id"]})


def total_up(world: World, invoice: Obj, discount_ids: list[str] | None = None) -> None:
    """Discounts, taxes and sums of a draft from its lines."""
    lines = invoice["lines"]
    if discount_ids is not None:
        invoice["discounts"] = discount_ids
    open_to = [line for line in lines if line["discountable"] and line["amount"] > 0]
    discounts = in_force(world, invoice["discounts"], invoice["created"])
    parts = shares(discounts, [Fraction(line["amount"]) for line in open_to])
    for position, line in enumerate(open_to):
        line["discount_amounts"] = [
            {"amount": off[position], "discount": discount["id"]}
            for discount, off in zip(discounts, parts, strict=True)
        ]
    invoice["total_discount_amounts"] = [
        {"amount": sum(off), "discount": discount["id"]}
        for discount, off in zip(discounts, parts, strict=True)
    ]
    for line in lines:
        off = sum(one["amount"] for one in line["discount_amounts"])
        line["taxes"] = taxes(world, line["_tax_rates"], line["amount"] - off)
    _sum(world, invoice)


def _sum(world: World, invoice: Obj) -> None:
    lines = invoice["lines"]
    tax: dict[str, Obj] = {}
    for one in (one for line in lines for one in line["taxes"]):
        rate = one["tax_rate_details"]["tax_rate"]
        if rate in tax:
            tax[rate]["amount"] += one["amount"]
            tax[rate]["taxable_amount"] += one["taxable_amount"]
        else:
            tax[rate] = dict(one)
    invoice["total_taxes"] = list(tax.values())
    invoice["subtotal"] = sum(line["amount"] for line in lines)
    off = sum(one["amount"] for one in invoice["total_discount_amounts"])
    invoice["subtotal_excluding_tax"] = invoice["subtotal"]
    invoice["total_excluding_tax"] = invoice["subtotal"] - off
    invoice["total"] = invoice["total_excluding_tax"] + sum(
        one["amount"] for one in invoice["total_taxes"]
    )
    balance = world.store.need("customer", invoice["customer"])["balance"]
    invoice["starting_balance"] = balance
    invoice["amount_due"] = max(0, invoice["total"] + balance)
    invoice["amount_remaining"] = invoice["amount_due"]


def settle_balance(invoice: Obj, balance: int) -> tuple[int, int]:
    """What is due and what the balance becomes when this invoice is finalized now."""
    amount = invoice["total"] + balance
    if amount <= 0:
        return 0, amount
    if amount < _MINIMUM_MINOR.get(invoice["currency"], 50):
        return 0, amount
    return amount, 0


def finalize(world: World, invoice: Obj, now: int) -> None:
    """Number the invoice, use the balance, and open it; nothing due makes it paid."""
    assert invoice["status"] == "draft"
    customer = world.store.edit("customer", invoice["customer"])
    invoice["starting_balance"] = customer["balance"]
    due, ending = settle_balance(invoice, customer["balance"])
    invoice["number"] = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04d}"
    customer["next_invoice_sequence"] += 1
    customer["currency"] = customer["currency"] or invoice["currency"]
    if ending != customer["balance"]:
        small = ending > 0
        move_balance(
            world,
            customer,
            ending - customer["balance"],
            "invoice_too_small" if small else "applied_to_invoice",
            invoice_id=invoice["id"],
        )
        world.store.put(customer, "customer.updated")
    else:
        world.store.put(customer)
    invoice["ending_balance"] = ending
    invoice["amount_due"] = invoice["amount_remaining"] = due
    invoice["automatically_finalizes_at"] = None
    invoice["effective_at"] = now
    invoice["status_transitions"]["finalized_at"] = now
    invoice["hosted_invoice_url"] = f"https://invoice.stripe.com/i/test/{invoice['id']}"
    invoice["invoice_pdf"] = f"https://pay.stripe.com/invoice/test/{invoice['id']}/pdf"
    invoice["status"] = "open"
    if due:
        open_payment(world, invoice, now)
        world.store.put(copy(invoice), "invoice.finalized")
        return
    world.store.put(copy(invoice), "invoice.finalized")
    invoice.update(status="paid", attempted=True, auto_advance=False, next_payment_attempt=None)
    invoice["status_transitions"]["paid_at"] = now
    world.store.put(copy(invoice), "invoice.paid", "invoice.payment_succeeded")
    after_paid(world, invoice)
