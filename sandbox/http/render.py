"""From stored objects to what the API shows: embedded objects, expansion, lists.

Reads only. A stored object holds ids where Stripe shows either an id or, when asked by `expand`,
the object; what Stripe always embeds (the price of an item, tax rates) is put in here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.http.errors import ApiError, bad_request
from sandbox.store import Obj
from sandbox.world import World

MAX_EXPAND_DEPTH = 4
EMBEDDED_LINES = 10
# (object, field): what is shown only when asked for; filled by `includes` of the resources.
Include = Callable[[World, Obj], Any]


def show(world: World, obj: Obj) -> Obj:
    """The object as the API shows it, nothing expanded."""
    shown = _public(obj)
    special = None if obj.get("deleted") else _SPECIAL.get(str(obj.get("object")))
    return special(world, shown) if special else shown


def _public(obj: Obj) -> Obj:
    return {name: value for name, value in obj.items() if not name.startswith("_")}


def list_of(data: list[Obj], url: str, *, has_more: bool = False, **extra: Any) -> Obj:
    """Stripe's list object; `extra` for the few lists that carry total_count."""
    return {"object": "list", "data": data, "has_more": has_more, "url": url, **extra}


def expand(world: World, shown: Obj, paths: list[str], includes: dict[str, Include]) -> Obj:
    """Replace ids along each dotted path by the objects they name."""
    for index, path in enumerate(paths):
        parts = path.split(".")
        if len(parts) > MAX_EXPAND_DEPTH:
            raise bad_request(
                f"You cannot expand more than 4 levels of a property. (requested: {path})",
                "expand",
            )
        try:
            _expand(world, shown, parts, includes)
        except LookupError:
            raise ApiError(
                400, f"This property cannot be expanded ({path}).", param=f"expand[{index}]"
            ) from None
    return shown


def _expand(world: World, node: Any, parts: list[str], includes: dict[str, Include]) -> None:
    if isinstance(node, list):
        for child in node:
            _expand(world, child, parts, includes)
        return
    if not isinstance(node, dict):
        return
    name, rest = parts[0], parts[1:]
    if name == "data" and node.get("object") == "list":
        if rest:
            _expand(world, node["data"], rest, includes)
        return
    include = includes.get(f"{node.get('object')}.{name}")
    if include is not None and not isinstance(node.get(name), dict):
        node[name] = include(world, node)
    if name not in node:
        raise LookupError(name)
    node[name] = _resolve(world, node[name])
    if isinstance(node[name], (dict, list)):
        node[name] = _fresh(node[name])
    if rest:
        _expand(world, node[name], rest, includes)


def _resolve(world: World, value: Any) -> Any:
    if isinstance(value, str):
        found = world.store.find(value)
        if found is None:
            raise LookupError(value)
        return show(world, found)
    if isinstance(value, list):
        return [_resolve(world, item) if isinstance(item, str) else item for item in value]
    return value


def _fresh(value: Any) -> Any:
    """Expansion writes into what it walks: never into what is stored."""
    if isinstance(value, dict):
        return dict(value)
    return [dict(item) if isinstance(item, dict) else item for item in value]


def _subscription(world: World, shown: Obj) -> Obj:
    items = [_item(world, item) for item in shown["items"]]
    single = items[0] if len(items) == 1 else None
    shown["items"] = list_of(
        items, f"/v1/subscription_items?subscription={shown['id']}", total_count=len(items)
    )
    shown["quantity"] = single["quantity"] if single and "quantity" in single else None
    shown["plan"] = single["plan"] if single else None
    shown["default_tax_rates"] = _tax_rates(world, shown["default_tax_rates"])
    if shown["pending_update"] and shown["pending_update"]["subscription_items"]:
        pending = dict(shown["pending_update"])
        pending["subscription_items"] = [
            _item(world, item) for item in pending["subscription_items"]
        ]
        shown["pending_update"] = pending
    return shown


def _item(world: World, item: Obj) -> Obj:
    shown = _public(item)
    shown["price"] = show(world, world.store.need("price", item["price"]))
    shown["plan"] = plan_of(shown["price"])
    shown["tax_rates"] = _tax_rates(world, item["tax_rates"])
    return shown


def _tax_rates(world: World, ids: list[str]) -> list[Obj]:
    return [show(world, world.store.need("tax_rate", one)) for one in ids]


def _invoice(world: World, shown: Obj) -> Obj:
    lines = [_public(line) for line in shown["lines"]]
    shown["lines"] = list_of(
        lines[:EMBEDDED_LINES],
        f"/v1/invoices/{shown['id']}/lines",
        has_more=len(lines) > EMBEDDED_LINES,
        total_count=len(lines),
    )
    shown["default_tax_rates"] = _tax_rates(world, shown["default_tax_rates"])
    return shown


def plan_of(price: Obj) -> Obj:
    """The legacy plan that Stripe still shows beside every recurring price."""
    recurring = price["recurring"] or {}
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring.get("interval"),
        "interval_count": recurring.get("interval_count"),
        "livemode": False,
        "metadata": price["metadata"],
        "meter": None,
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": price["tiers_mode"],
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": recurring.get("usage_type"),
    }


def _price(_world: World, shown: Obj) -> Obj:
    shown.pop("tiers", None)  # shown only when asked for
    return shown


def _invoiceitem(world: World, shown: Obj) -> Obj:
    shown["tax_rates"] = _tax_rates(world, shown["tax_rates"])
    return shown


def subscription_item(world: World, item: Obj) -> Obj:
    """An item on its own, as `/v1/subscription_items` answers it."""
    return _item(world, item)


_SPECIAL: dict[str, Callable[[World, Obj], Obj]] = {
    "subscription": _subscription,
    "invoice": _invoice,
    "invoiceitem": _invoiceitem,
    "price": _price,
}
