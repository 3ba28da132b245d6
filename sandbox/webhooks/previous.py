"""What an event says about a change: previous attributes, and the names of thin events.

Pure: two states of one object in, plain values out. No store, no clock, no delivery.
"""

from __future__ import annotations

from typing import Any

Hash = dict[str, Any]

# A subscription that reaches one of these states is told by a thin event of its own.
_STATUS_EVENTS = {
    "active": "active",
    "incomplete": "incomplete",
    "incomplete_expired": "incomplete_expired",
    "past_due": "past_due",
    "trialing": "trialing",
    "unpaid": "unpaid",
}
_UPDATED = "customer.subscription.updated"
_CREATED = "customer.subscription.created"


def previous_attributes(before: Hash, after: Hash) -> Hash:
    """The changed attributes with their old values, as `data.previous_attributes` has them.

    Hashes are given partially, arrays whole, and an attribute that is new is given as null:
    https://docs.stripe.com/api/events/object#event_object-data-previous_attributes.
    """
    changed: Hash = {}
    for name in before.keys() | after.keys():
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict) and old.get("id") == new.get("id"):
            changed[name] = previous_attributes(old, new)
        else:
            changed[name] = old
    return changed


def companions(event_type: str, before: Hash | None, after: Hash | None) -> list[str]:
    """Further snapshot events that Stripe sends with an update: pausing and resuming."""
    if event_type != _UPDATED or before is None or after is None:
        return []
    was, now = before["status"] == "paused", after["status"] == "paused"
    if was == now:
        return []
    return [f"customer.subscription.{'paused' if now else 'resumed'}"]


def thin_types(event_type: str, before: Hash | None, after: Hash) -> list[str]:
    """The thin events that tell of the same change as a snapshot event, most general first.

    A snapshot type has a thin sibling with the prefix `v1.`; what changed in a subscription is
    told by further ones, such as `v1.customer.subscription.item_quantity_changed`.
    """
    names = [f"v1.{event_type}"]
    if event_type in (_CREATED, _UPDATED):
        names += [f"v1.customer.subscription.{name}" for name in _details(before, after)]
    return names


def _details(before: Hash | None, after: Hash) -> list[str]:
    reached = _STATUS_EVENTS.get(after["status"])
    found = [reached] if reached and (before or {}).get("status") != after["status"] else []
    if before is None:
        return found
    found += _item_changes(_items(before), _items(after))
    found += [
        f"{field}_changed"
        for field in ("cancel_at", "default_payment_method")
        if before.get(field) != after.get(field)
    ]
    return found


def _items(subscription: Hash) -> dict[str, Hash]:
    return {item["id"]: item for item in subscription["items"]["data"]}


def _item_changes(before: dict[str, Hash], after: dict[str, Hash]) -> list[str]:
    both = [(before[key], after[key]) for key in before.keys() & after.keys()]
    changes = {
        "item_added": bool(after.keys() - before.keys()),
        "item_removed": bool(before.keys() - after.keys()),
        "item_price_changed": any(old["price"]["id"] != new["price"]["id"] for old, new in both),
        "item_quantity_changed": any(old["quantity"] != new["quantity"] for old, new in both),
        "item_tax_rates_changed": any(old["tax_rates"] != new["tax_rates"] for old, new in both),
    }
    return [name for name, happened in changes.items() if happened]
