"""`/v1/subscription_schedules`: changes of a subscription that are agreed on for later.

A schedule owns its subscription's items while it is active. `work` is what time brings: the next
phase, the notice before the end, the end. Not here: default settings, trials and discounts of
phases, pauses.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sandbox.http.errors import bad_request, missing_param
from sandbox.http.fields import set_metadata
from sandbox.http.listing import list_page
from sandbox.http.routes import Context, Request, Route
from sandbox.store import Obj, Row, copy, peek
from sandbox.subscriptions import creation
from sandbox.subscriptions.cancel import cancel as cancel_subscription
from sandbox.subscriptions.cancel import cancel_now
from sandbox.subscriptions.creation import GONE
from sandbox.subscriptions.renewal import advance_later
from sandbox.subscriptions.schedule_phases import (
    current,
    phase,
    phase_item,
    read_phases,
    wanted_items,
)
from sandbox.subscriptions.update import change
from sandbox.world import World

NAME = "subscription_schedule"
NOTICE_S = 7 * 86400
UPDATED = f"{NAME}.updated"
_ALIVE = ("not_started", "active")


def create(ctx: Context) -> Obj:
    """`POST /v1/subscription_schedules`: from a subscription, or with phases and a customer."""
    params = ctx.params
    if "from_subscription" in params:
        return _from_subscription(ctx)
    for name in ("customer", "phases"):
        if name not in params:
            raise missing_param(name)
    customer = ctx.named("customer", params["customer"], param="customer", status=400)
    now = ctx.world.now_of(customer)
    start = params.get("start_date", now)
    start = now if start == "now" else start
    schedule = _blank(ctx, customer, now)
    schedule["phases"] = read_phases(ctx.world, params["phases"], start, now)
    set_metadata(schedule, params)
    schedule["end_behavior"] = params.get("end_behavior", "release")
    if start <= now:
        schedule = _start(ctx, schedule)
    return ctx.world.store.put(schedule, f"{NAME}.created")


def _from_subscription(ctx: Context) -> Obj:
    if set(ctx.params) - {"from_subscription", "expand"}:
        raise bad_request("from_subscription takes no other parameters.", "from_subscription")
    found = ctx.named(
        "subscription", ctx.params["from_subscription"], param="from_subscription", status=400
    )
    if found["status"] in GONE or found["schedule"] is not None:
        raise bad_request(
            "This subscription has ended or already has a schedule.", "from_subscription"
        )
    world = ctx.world
    customer = world.store.need("customer", found["customer"])
    schedule = _blank(ctx, customer, world.now_of(found))
    items = [
        phase_item(one["price"], one.get("quantity"), metadata=one["metadata"])
        for one in found["items"]
    ]
    start = min(one["current_period_start"] for one in found["items"])
    end = min(one["current_period_end"] for one in found["items"])
    schedule["phases"] = [phase(items, found["currency"], start, end)]
    schedule.update(status="active", subscription=found["id"])
    schedule["current_phase"] = {"start_date": start, "end_date": end}
    schedule["billing_mode"] = _billing_mode(found["billing_mode"])
    subscription = {**copy(found), "schedule": schedule["id"]}
    world.store.put(subscription, "customer.subscription.updated")
    return world.store.put(schedule, f"{NAME}.created")


def _blank(ctx: Context, customer: Obj, now: int) -> Obj:
    return {
        "id": ctx.world.store.new_id(NAME),
        "object": NAME,
        "application": None,
        "billing_mode": _billing_mode({"type": "flexible", "flexible": None}),
        "canceled_at": None,
        "completed_at": None,
        "created": now,
        "current_phase": None,
        "customer": customer["id"],
        "customer_account": None,
        "default_settings": {
            "application_fee_percent": None,
            "billing_cycle_anchor": "automatic",
            "billing_thresholds": None,
            "collection_method": "charge_automatically",
            "default_payment_method": None,
            "description": None,
            "invoice_settings": {
                "account_tax_ids": None,
                "days_until_due": None,
                "issuer": {"type": "self"},
            },
            "on_behalf_of": None,
            "transfer_data": None,
        },
        "end_behavior": "release",
        "livemode": False,
        "metadata": {},
        "pause_schedules": [],
        "phases": [],
        "released_at": None,
        "released_subscription": None,
        "status": "not_started",
        "subscription": None,
        "test_clock": customer["test_clock"],
    }


def _billing_mode(mode: Obj) -> Obj:
    return {"flexible": mode["flexible"], "type": mode["type"]}


def _start(ctx: Context, schedule: Obj) -> Obj:
    """Makes the subscription of the first phase; returns the changed schedule, not stored.

    Its first invoice is a draft for an hour, like those that time makes.
    """
    first = schedule["phases"][0]
    items = [
        {"price": one["price"], "quantity": one["quantity"], "metadata": one["metadata"]}
        for one in first["items"]
    ]
    params = {"customer": schedule["customer"], "items": items, "metadata": first["metadata"]}
    subscription, invoice = creation.propose(ctx, params)
    owned = {**subscription, "schedule": schedule["id"], "status": "active"}
    ctx.world.store.put(owned, "customer.subscription.updated")
    if invoice is not None:
        advance_later(ctx.world, {**invoice, "auto_advance": True})
    started = {**schedule, "status": "active", "subscription": owned["id"]}
    started["current_phase"] = _span(first)
    return started


def _span(one: Obj) -> Obj:
    return {"start_date": one["start_date"], "end_date": one["end_date"]}


def update(ctx: Context) -> Obj:
    """`POST /v1/subscription_schedules/:id`: phases are replaced whole, the present one too."""
    found = _alive(ctx)
    schedule = ctx.world.store.edit(NAME, found["id"])
    now = ctx.world.now_of(schedule)
    set_metadata(schedule, ctx.params)
    if "end_behavior" in ctx.params:
        schedule["end_behavior"] = ctx.params["end_behavior"]
    if "phases" in ctx.params:
        start = ctx.params["phases"][0].get("start_date", schedule["phases"][0]["start_date"])
        start = now if start == "now" else start
        schedule["phases"] = read_phases(ctx.world, ctx.params["phases"], start, now)
        schedule.pop("_noticed", None)
        if schedule["status"] == "active":
            _keep_up(ctx, found, schedule, now)
    if schedule == found:
        return found
    return ctx.world.store.put(schedule, UPDATED)


def _keep_up(ctx: Context, before: Obj, schedule: Obj, now: int) -> None:
    """What the present phase says now holds for the subscription at once."""
    present = current(schedule["phases"], now)
    if present is None:
        raise bad_request("One phase must hold the present.", "phases")
    schedule["current_phase"] = _span(present)
    was = current(before["phases"], now)
    if was is None or was["items"] != present["items"]:
        behavior = ctx.params.get("proration_behavior", present["proration_behavior"])
        _apply(ctx, schedule["subscription"], present, str(behavior))


def _apply(ctx: Context, subscription_id: str, target: Obj, behavior: str) -> None:
    subscription = ctx.world.store.need("subscription", subscription_id)
    params: dict[str, Any] = {
        "items": wanted_items(subscription, target),
        "proration_behavior": behavior,
    }
    if target["metadata"]:
        params["metadata"] = target["metadata"]
    change(replace(ctx, params=params), subscription, params)


def release(ctx: Context) -> Obj:
    """`POST /v1/subscription_schedules/:id/release`: the subscription stays as it is."""
    schedule = ctx.world.store.edit(NAME, _alive(ctx)["id"])
    now = ctx.world.now_of(schedule)
    _let_go(ctx.world, schedule)
    schedule.update(status="released", released_at=now)
    return ctx.world.store.put(schedule, f"{NAME}.released")


def _let_go(world: World, schedule: Obj) -> None:
    subscription_id = schedule["subscription"]
    schedule.update(current_phase=None, subscription=None, released_subscription=subscription_id)
    if subscription_id is not None:
        subscription = {**world.store.edit("subscription", subscription_id), "schedule": None}
        world.store.put(subscription, "customer.subscription.updated")


def cancel(ctx: Context) -> Obj:
    """`POST /v1/subscription_schedules/:id/cancel`: its subscription goes with it."""
    schedule = ctx.world.store.edit(NAME, _alive(ctx)["id"])
    now = ctx.world.now_of(schedule)
    if schedule["subscription"] is not None:
        params = {name: ctx.params.get(name, True) for name in ("prorate", "invoice_now")}
        args = {"id": schedule["subscription"]}
        cancel_subscription(replace(ctx, args=args, params=params))
    schedule.update(status="canceled", canceled_at=now, current_phase=None)
    return ctx.world.store.put(schedule, f"{NAME}.canceled")


def retrieve(ctx: Context) -> Obj:
    """`GET /v1/subscription_schedules/:id`."""
    return _the(ctx)


def list_schedules(ctx: Context) -> Obj | bytes:
    """`GET /v1/subscription_schedules`, by customer and by how they ended."""
    params = ctx.params
    if "customer" in params:
        ctx.named("customer", params["customer"], param="customer", status=400)
    ends = [name for name in ("canceled_at", "completed_at", "released_at") if name in params]
    scheduled = params.get("scheduled", False)

    def keep(row: Row) -> bool:
        return all(peek(row, name) is not None for name in ends) and (
            not scheduled or peek(row, "status") == "not_started"
        )

    by = ("customer", params["customer"]) if "customer" in params else None
    return list_page(ctx, NAME, by=by, keep=keep, what="subscription schedule")


def _the(ctx: Context) -> Obj:
    return ctx.the(NAME, what="subscription schedule")


def _alive(ctx: Context) -> Obj:
    schedule = _the(ctx)
    if schedule["status"] not in _ALIVE:
        raise bad_request(
            f"You cannot change a subscription schedule that is in the `{schedule['status']}` "
            "status."
        )
    return schedule


def due_at(schedule: Obj) -> int | None:
    """The next moment something happens to it by itself."""
    if schedule["status"] == "not_started":
        return int(schedule["phases"][0]["start_date"])
    if schedule["status"] != "active":
        return None
    moments: list[int] = [schedule["current_phase"]["end_date"]]
    if schedule["end_behavior"] == "cancel" and not schedule.get("_noticed"):
        moments.append(schedule["phases"][-1]["end_date"] - NOTICE_S)
    return min(moments)


def work(world: World, found: Obj, now: int) -> None:
    """Do what is due: start, tell of the near end, move to the next phase, or end."""
    schedule = copy(found)
    ctx = _clockwork(world)
    if schedule["status"] == "not_started":
        world.store.put(_start(ctx, schedule), UPDATED)
    elif schedule["current_phase"]["end_date"] > now:
        schedule["_noticed"] = True
        world.store.put(schedule, f"{NAME}.expiring")
    elif world.store.need("subscription", schedule["subscription"])["status"] in GONE:
        schedule.update(status="canceled", canceled_at=now, current_phase=None)
        world.store.put(schedule, f"{NAME}.aborted")
    else:
        _move_on(ctx, schedule, now)


def _move_on(ctx: Context, schedule: Obj, now: int) -> None:
    following = current(schedule["phases"], now)
    if following is not None:
        subscription = ctx.world.store.need("subscription", schedule["subscription"])
        _apply(ctx, subscription["id"], following, _behavior(subscription, following, now))
        schedule["current_phase"] = _span(following)
        ctx.world.store.put(schedule, UPDATED)
        return
    subscription_id = schedule["subscription"]
    if schedule["end_behavior"] == "cancel":
        cancel_now(ctx.world, subscription_id, now, "cancellation_requested")
    else:
        _let_go(ctx.world, schedule)
    schedule.update(status="completed", completed_at=now, current_phase=None)
    ctx.world.store.put(schedule, f"{NAME}.completed")


def _behavior(subscription: Obj, following: Obj, now: int) -> str:
    """At the turn of a period nothing is prorated: the new period bills the new items."""
    turn = all(one["current_period_end"] <= now for one in subscription["items"])
    return "none" if turn else str(following["proration_behavior"])


def _clockwork(world: World) -> Context:
    """The context of what time does: nobody's request."""
    route = Route("POST", "/", retrieve)
    return Context(world, Request("POST", "/", "", {}, b"", ""), route, {}, {})


_SCHEDULES = "/v1/subscription_schedules"
_ONE = f"{_SCHEDULES}/:id"
_SCHEMA = "SubscriptionSchedule"
ROUTES = (
    Route(
        "POST",
        _SCHEDULES,
        create,
        f"{_SCHEMA}CreateParams",
        "customer end_behavior from_subscription metadata phases start_date",
    ),
    Route("GET", _SCHEDULES, list_schedules, f"{_SCHEMA}ListParams"),
    Route("GET", _ONE, retrieve, f"{_SCHEMA}RetrieveParams"),
    Route(
        "POST",
        _ONE,
        update,
        f"{_SCHEMA}UpdateParams",
        "end_behavior metadata phases proration_behavior",
    ),
    Route("POST", f"{_ONE}/release", release, f"{_SCHEMA}ReleaseParams"),
    Route("POST", f"{_ONE}/cancel", cancel, f"{_SCHEMA}CancelParams"),
)
