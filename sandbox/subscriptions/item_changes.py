"""What `items[]` of a request does to a subscription's items, before any money is thought of.

Two traps of Stripe's are kept as they are: a new `price` without a `quantity` resets the quantity
to 1, and leaving out the item's `id` adds another item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sandbox.http.errors import bad_request, no_such, unsupported_param
from sandbox.http.fields import set_metadata
from sandbox.http.routes import Context
from sandbox.objects.catalog import price_from_data
from sandbox.store import Obj, copy

MAX_ITEMS = 20
_SUPPORTED = {
    "id", "price", "plan", "price_data", "quantity", "deleted", "metadata", "tax_rates",
    "clear_usage",
}  # fmt: skip


@dataclass
class Change:
    """One item before and after; one of the two may be missing. `after` is private to us."""

    before: Obj | None
    after: Obj | None

    @property
    def moves_money(self) -> bool:
        """Whether price or quantity differ: metadata alone prorates nothing."""
        if self.before is None or self.after is None:
            return True
        return self.before["price"] != self.after["price"] or self.before.get(
            "quantity"
        ) != self.after.get("quantity")


def read(ctx: Context, subscription: Obj, sent: list[dict[str, Any]], now: int) -> list[Change]:
    """All items of the subscription, changed or not, in order; new ones at the end."""
    changes = [Change(item, copy(item)) for item in subscription["items"]]
    for index, one in enumerate(sent):
        where = f"items[{index}]"
        for name in one:
            if name not in _SUPPORTED:
                raise unsupported_param(f"{where}[{name}]")
        if "id" in one:
            _change(ctx, _named(changes, one["id"], where), one, where)
        else:
            changes.append(Change(None, new_item(ctx, subscription, one, now, where)))
    _check(ctx, subscription, [c.after for c in changes if c.after is not None])
    return changes


def _named(changes: list[Change], item_id: str, where: str) -> Change:
    for change in changes:
        if change.before is not None and change.before["id"] == item_id:
            return change
    raise no_such("subscription item", item_id, f"{where}[id]", 400)


def _change(ctx: Context, change: Change, sent: dict[str, Any], where: str) -> None:
    if sent.get("deleted"):
        change.after = None
        return
    after = change.after
    if after is None:
        raise bad_request("A subscription item can be named only once.", f"{where}[id]")
    price = price_of(ctx, sent, where)
    if price is not None and price["id"] != after["price"]:
        after["price"] = price["id"]
        after["quantity"] = 1  # Stripe's own default for a new price, not the old quantity
    if "quantity" in sent:
        after["quantity"] = _quantity(sent["quantity"], where)
    _details(ctx, after, sent, where)


def _details(ctx: Context, item: Obj, sent: dict[str, Any], where: str) -> None:
    set_metadata(item, sent)
    if "tax_rates" in sent:
        item["tax_rates"] = known_tax_rates(ctx, sent["tax_rates"], f"{where}[tax_rates]")


def known_tax_rates(ctx: Context, ids: Any, param: str) -> list[str]:
    """Tax rates that exist; an empty string is none."""
    for one in ids or []:
        ctx.named("tax_rate", one, what="tax rate", param=param, status=400)
    return list(ids or [])


def _quantity(quantity: int, where: str) -> int:
    if quantity < 0:
        raise bad_request("Invalid non-negative integer", f"{where}[quantity]")
    return quantity


def price_of(ctx: Context, sent: dict[str, Any], where: str) -> Obj | None:
    """The price an item names, or None when it keeps its own."""
    if "price_data" in sent:
        return price_from_data(ctx, sent["price_data"])
    for name in ("price", "plan"):
        if name in sent:
            price = ctx.world.store.get("price", sent[name])
            if price is None:
                raise no_such(name, sent[name], f"{where}[{name}]", 400)
            if price["recurring"] is None:
                raise bad_request(
                    "The price specified is set to `type=one_time` but this field only accepts "
                    "prices with `type=recurring`.",
                    f"{where}[{name}]",
                )
            if not price["active"] and "price_data" not in sent:
                raise bad_request(
                    f"The price specified is inactive. This field only accepts active prices: "
                    f"{price['id']}",
                    f"{where}[{name}]",
                )
            return price
    return None


def new_item(ctx: Context, subscription: Obj, sent: dict[str, Any], now: int, where: str) -> Obj:
    """An item to add; its period is set by who adds it."""
    price = price_of(ctx, sent, where)
    if price is None:
        raise bad_request(
            f"Missing required param: {where}[price].", f"{where}[price]", "parameter_missing"
        )
    item_id = ctx.world.store.new_id("subscription_item")
    item = blank_item(item_id, subscription["id"], price["id"], now)
    item["quantity"] = _quantity(sent.get("quantity", 1), where)
    if price["recurring"]["usage_type"] == "metered":
        del item["quantity"]
    _details(ctx, item, sent, where)
    return item


def blank_item(item_id: str, subscription_id: str, price_id: str, now: int) -> Obj:
    """An item of one, its period still to be set; not stored."""
    return {
        "id": item_id,
        "object": "subscription_item",
        "_debits": [],
        "billing_thresholds": None,
        "created": now,
        "current_period_end": now,
        "current_period_start": now,
        "discounts": [],
        "metadata": {},
        "price": price_id,
        "quantity": 1,
        "subscription": subscription_id,
        "tax_rates": [],
    }


def _check(ctx: Context, subscription: Obj, items: list[Obj]) -> None:
    if not items:
        raise bad_request("A subscription must have at least one item: cancel it instead.", "items")
    if len(items) > MAX_ITEMS:
        raise bad_request(f"A subscription can have at most {MAX_ITEMS} items.", "items")
    prices = [ctx.world.store.need("price", item["price"]) for item in items]
    _check_duplicates(prices, new=not subscription["items"])
    for price in prices:
        if subscription["currency"] not in (None, price["currency"]):
            raise bad_request(
                f"The price specified only supports `{price['currency']}`. This doesn't match "
                f"the expected currency: `{subscription['currency']}`.",
                "currency",
            )
        subscription["currency"] = price["currency"]
    cycles = {(p["recurring"]["interval"], p["recurring"]["interval_count"]) for p in prices}
    if len(cycles) > 1 and subscription["billing_mode"]["type"] == "classic":
        raise bad_request(
            "Currently, all prices on a subscription must have the same `recurring.interval` "
            "and `recurring.interval_count`. If you need mixed intervals, use flexible billing "
            "mode.",
            "items",
        )


def _check_duplicates(prices: list[Obj], *, new: bool) -> None:
    """One item for each price; the parameter blamed at creation is recorded."""
    ids = [price["id"] for price in prices]
    twice = next((one for place, one in enumerate(ids) if one in ids[:place]), None)
    if twice is None:
        return
    if new:
        raise bad_request(
            "Cannot create a Subscription with multiple Subscription Items with the same Price: "
            f"{twice}",
            "plan",
        )
    raise bad_request(
        f"Cannot add multiple subscription items with the same price: {twice}", "price"
    )
