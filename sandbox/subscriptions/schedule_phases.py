"""The phases of a subscription schedule: from what is sent to what is stored, and what is due.

Reads prices, changes nothing. Source: https://docs.stripe.com/billing/subscriptions/subscription-schedules
"""

from __future__ import annotations

from typing import Any

from sandbox.billing.proration import add_intervals
from sandbox.http.errors import bad_request, no_such, unsupported_param
from sandbox.http.fields import merged_metadata
from sandbox.store import Obj
from sandbox.world import World

MAX_PHASES = 10
_ITEM = {"metadata", "plan", "price", "quantity", "tax_rates"}
_PHASE = {
    "currency", "duration", "end_date", "items", "iterations", "metadata", "proration_behavior",
    "start_date",
}  # fmt: skip


def read_phases(world: World, sent: list[dict[str, Any]], start: int, now: int) -> list[Obj]:
    """Phases one after the other from `start`; raises ApiError for what makes no sense."""
    if not sent or len(sent) > MAX_PHASES:
        raise bad_request(f"A schedule has between 1 and {MAX_PHASES} phases.", "phases")
    phases: list[Obj] = []
    for index, one in enumerate(sent):
        where = f"phases[{index}]"
        for name in one:
            if name not in _PHASE:
                raise unsupported_param(f"{where}[{name}]")
        begin = _moment(one.get("start_date", start), now)
        if begin != start:
            raise bad_request(
                "Phases follow one another: a phase starts when the one before it ends.",
                f"{where}[start_date]",
            )
        phases.append(_phase(world, one, where, (start, now), last=index == len(sent) - 1))
        start = phases[-1]["end_date"]
    return phases


def _phase(
    world: World, sent: dict[str, Any], where: str, times: tuple[int, int], *, last: bool
) -> Obj:
    start, now = times
    items = [
        _item(world, item, f"{where}[items][{place}]") for place, item in enumerate(sent["items"])
    ]
    price = world.store.need("price", items[0]["price"])
    end = _end(price, sent, start, now)
    if end is None and not last:
        raise bad_request("Every phase but the last needs an end.", f"{where}[end_date]")
    if end is not None and end <= start:
        raise bad_request("A phase must end after it starts.", f"{where}[end_date]")
    recurring = price["recurring"]
    end = end or add_intervals(start, recurring["interval"], recurring["interval_count"])
    return {
        **phase(items, price["currency"], start, end),
        "metadata": merged_metadata({}, sent.get("metadata", {})),
        "proration_behavior": sent.get("proration_behavior", "create_prorations"),
    }


def phase(items: list[Obj], currency: str, start: int, end: int) -> Obj:
    """A stored phase."""
    return {
        "add_invoice_items": [],
        "application_fee_percent": None,
        "billing_cycle_anchor": None,
        "billing_thresholds": None,
        "collection_method": None,
        "currency": currency,
        "default_payment_method": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "end_date": end,
        "invoice_settings": None,
        "items": items,
        "metadata": {},
        "on_behalf_of": None,
        "proration_behavior": "create_prorations",
        "start_date": start,
        "transfer_data": None,
        "trial_end": None,
    }


def phase_item(price_id: str, quantity: int | None, **more: Any) -> Obj:
    """A stored item of a phase."""
    return {
        "billing_thresholds": None,
        "discounts": [],
        "metadata": more.get("metadata") or {},
        "plan": price_id,
        "price": price_id,
        "quantity": quantity,
        "tax_rates": more.get("tax_rates") or [],
    }


def _item(world: World, sent: dict[str, Any], where: str) -> Obj:
    for name in sent:
        if name not in _ITEM:
            raise unsupported_param(f"{where}[{name}]")
    price_id = sent.get("price", sent.get("plan"))
    price = world.store.get("price", price_id) if price_id else None
    if price is None or price["recurring"] is None:
        raise no_such("price", str(price_id), f"{where}[price]", 400)
    return phase_item(
        price["id"],
        sent.get("quantity", 1),
        metadata=merged_metadata({}, sent.get("metadata", {})),
        tax_rates=sent.get("tax_rates"),
    )


def _end(price: Obj, sent: dict[str, Any], start: int, now: int) -> int | None:
    if "end_date" in sent:
        return _moment(sent["end_date"], now)
    recurring = price["recurring"]
    if "iterations" in sent:
        count = sent["iterations"] * recurring["interval_count"]
        return add_intervals(start, recurring["interval"], count)
    if "duration" in sent:
        duration = sent["duration"]
        return add_intervals(start, duration["interval"], duration.get("interval_count", 1))
    return None


def _moment(value: Any, now: int) -> int:
    return now if value == "now" else int(value)


def current(phases: list[Obj], now: int) -> Obj | None:
    """The phase that holds this moment."""
    return next((one for one in phases if one["start_date"] <= now < one["end_date"]), None)


def wanted_items(subscription: Obj, target: Obj) -> list[dict[str, Any]]:
    """What `items` of an update must say to turn the subscription's items into a phase's.

    Items keep their id where their price stays; what the phase does not have is deleted.
    """
    left = {item["price"]: item for item in subscription["items"]}
    sent: list[dict[str, Any]] = []
    for item in target["items"]:
        own = left.pop(item["price"], None)
        entry = {"price": item["price"], "metadata": item["metadata"]}
        if own is not None:
            entry["id"] = own["id"]
        if item["quantity"] is not None:
            entry["quantity"] = item["quantity"]
        sent.append(entry)
    return sent + [{"id": item["id"], "deleted": True} for item in left.values()]
