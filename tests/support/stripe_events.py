"""Webhook bodies in the shapes Stripe sends, version by version, and thin notifications.

Sources: Stripe's API changelog for what moved when. 2025-03-31.basil moved the current period from
the subscription to its items and an invoice's subscription to its parent.
"""

import itertools
import time
from typing import Any

VERSIONS = (
    "2020-08-27",
    "2023-10-16",
    "2024-06-20",
    "2025-03-31.basil",
    "2026-10-28.endive",
)
_numbers = itertools.count(1)
_MONTH_S = 30 * 86_400


def unique(prefix: str) -> str:
    """An id nobody else has in this run."""
    return f"{prefix}_{next(_numbers):06d}{time.time_ns():x}"


def subscription(version: str = VERSIONS[-1], **fields: Any) -> dict[str, Any]:
    """A subscription as a snapshot of that version holds it."""
    start = 1_790_000_000
    period = {"current_period_start": start, "current_period_end": start + _MONTH_S}
    price = {
        "id": "price_voice",
        "object": "price",
        "active": True,
        "currency": "usd",
        "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"},
        "unit_amount": 3500,
        "unit_amount_decimal": "3500",
    }
    item: dict[str, Any] = {
        "id": "si_voice",
        "object": "subscription_item",
        "created": start,
        "metadata": {},
        "price": price,
        "quantity": 3,
        "subscription": "sub_1",
        "tax_rates": [],
    }
    whole: dict[str, Any] = {
        "id": "sub_1",
        "object": "subscription",
        "billing_cycle_anchor": start,
        "cancel_at_period_end": False,
        "collection_method": "charge_automatically",
        "created": start,
        "currency": "usd",
        "customer": "cus_1",
        "items": {"object": "list", "data": [item], "has_more": False, "total_count": 1},
        "latest_invoice": "in_1",
        "livemode": False,
        "metadata": {"organization_id": "org_1"},
        "pause_collection": None,
        "pending_update": None,
        "schedule": None,
        "status": "active",
    }
    if version < "2025-03-31":
        item["plan"] = {"id": "price_voice", "object": "plan", "amount": 3500, "interval": "month"}
        whole |= period | {"plan": item["plan"], "quantity": 3}
    else:
        item |= period
        whole |= {"billing_mode": {"type": "classic"}}
    if version == "2020-08-27":
        del whole["currency"]  # 2022-08-01 and later send it
        whole["tax_percent"] = None
    return whole | fields


def invoice(version: str = VERSIONS[-1], **fields: Any) -> dict[str, Any]:
    """A paid invoice of that subscription, reduced to what a reader of seats may look at."""
    whole: dict[str, Any] = {
        "id": "in_1",
        "object": "invoice",
        "amount_due": 10500,
        "amount_paid": 10500,
        "billing_reason": "subscription_cycle",
        "currency": "usd",
        "customer": "cus_1",
        "lines": {"object": "list", "data": [], "has_more": False, "total_count": 0},
        "livemode": False,
        "metadata": {},
        "status": "paid",
        "total": 10500,
    }
    named = {"metadata": {"organization_id": "org_1"}}
    if version >= "2025-03-31":
        details = named | {"subscription": "sub_1"}
        whole["parent"] = {"type": "subscription_details", "subscription_details": details}
    else:
        whole |= {"subscription": "sub_1", "paid": True, "charge": "ch_1"}
        if version >= "2023-08-16":
            whole["subscription_details"] = named
    return whole | fields


def snapshot(
    event_type: str, thing: dict[str, Any], version: str = VERSIONS[-1], **fields: Any
) -> dict[str, Any]:
    """An event with the whole object in it."""
    data: dict[str, Any] = {"object": thing}
    if event_type.endswith(".updated"):
        data["previous_attributes"] = {"items": {"data": []}}
    return {
        "id": unique("evt"),
        "object": "event",
        "api_version": version,
        "created": int(time.time()),
        "data": data,
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": "req_1", "idempotency_key": "key-1"},
        "type": event_type,
    } | fields


def thin(event_type: str, related_id: str, related_type: str, **fields: Any) -> dict[str, Any]:
    """A notification that only names its object."""
    return {
        "id": unique("evt_test"),
        "object": "v2.core.event",
        "type": event_type,
        "livemode": False,
        "created": "2026-11-01T06:20:52.246Z",
        "context": None,
        "related_object": {
            "id": related_id,
            "type": related_type,
            "url": f"/v1/{related_type}s/{related_id}",
        },
        "reason": {"type": "request", "request": {"id": "req_1", "idempotency_key": "key-1"}},
    } | fields
