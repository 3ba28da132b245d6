"""Invoice items: amounts that wait for the customer's next invoice, prorations among them."""

from __future__ import annotations

from sandbox.store import Obj
from sandbox.world import World

FROZEN = ["pricing", "quantity", "discounts"]


def new_item(world: World, customer: Obj, *, amount: int, currency: str, now: int) -> Obj:
    """An invoice item without a subscription; not stored."""
    return {
        "id": world.store.new_id("invoiceitem"),
        "object": "invoiceitem",
        "_subscription": None,
        "_subscription_item": None,
        "_source": None,  # the charge a credit takes back
        "amount": amount,
        "currency": currency,
        "customer": customer["id"],
        "customer_account": None,
        "date": now,
        "description": None,
        "discountable": True,
        "discounts": [],
        "frozen_fields": [],
        "invoice": None,
        "livemode": False,
        "metadata": {},
        "net_amount": amount,
        "parent": None,
        "period": {"end": now, "start": now},
        "pricing": None,
        "proration": False,
        "proration_details": {"credited_items": None, "discount_amounts": []},
        "quantity": 1,
        "quantity_decimal": "1",
        "tax_rates": [],
        "test_clock": customer["test_clock"],
    }


def pricing_of(price: Obj, *, unit: bool) -> Obj:
    """The pricing of a line; prorations carry no unit amount (recorded)."""
    return {
        "price_details": {"price": price["id"], "product": price["product"]},
        "type": "price_details",
        "unit_amount_decimal": price["unit_amount_decimal"] if unit else None,
    }


def pending(world: World, customer_id: str, subscription_id: str | None) -> list[Obj]:
    """Items that wait for this subscription's next invoice, newest first.

    Those of the customer without a subscription ride along; other subscriptions' do not.
    """
    found = [
        item
        for item in world.store.all("invoiceitem", ("customer", customer_id))
        if item["invoice"] is None and item["_subscription"] in (None, subscription_id)
    ]
    return found[::-1]


def parent_of(subscription_id: str, item_id: str | None) -> Obj:
    """The parent of an item that came from a subscription."""
    return {
        "subscription_details": {
            "subscription": subscription_id,
            "subscription_item": item_id,
        },
        "type": "subscription_details",
    }
