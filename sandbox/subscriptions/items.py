"""`/v1/subscription_items`: the same changes as an update of the subscription, one item a call."""

from __future__ import annotations

from typing import Any

from sandbox.http.errors import bad_request, missing_param
from sandbox.http.listing import page_of
from sandbox.http.render import subscription_item
from sandbox.http.routes import Context, Route
from sandbox.store import Obj
from sandbox.subscriptions.update import change

_MONEY = ("payment_behavior", "proration_behavior", "proration_date", "off_session")


def create(ctx: Context) -> Obj:
    """`POST /v1/subscription_items`."""
    subscription = ctx.named(
        "subscription", ctx.params["subscription"], param="subscription", status=400
    )
    known = {item["id"] for item in subscription["items"]}
    after = _change(ctx, subscription, {})
    new = [item for item in after["items"] if item["id"] not in known]
    if not new:  # the change waits for a payment: the item is only in `pending_update`
        new = [i for i in after["_pending"]["after"]["items"] if i["id"] not in known]
    return subscription_item(ctx.world, new[0])


def update(ctx: Context) -> Obj:
    """`POST /v1/subscription_items/:id`."""
    subscription, item = _find(ctx)
    after = _change(ctx, subscription, {"id": item["id"]})
    return subscription_item(ctx.world, _item(after, item["id"]))


def delete(ctx: Context) -> Obj:
    """`DELETE /v1/subscription_items/:id`."""
    subscription, item = _find(ctx)
    _change(ctx, subscription, {"id": item["id"], "deleted": True})
    return {"id": item["id"], "object": "subscription_item", "deleted": True}


def retrieve(ctx: Context) -> Obj:
    """`GET /v1/subscription_items/:id`."""
    return subscription_item(ctx.world, _find(ctx)[1])


def list_items(ctx: Context) -> Obj:
    """`GET /v1/subscription_items`: oldest first, unlike other lists (recorded)."""
    if "subscription" not in ctx.params:
        raise missing_param("subscription")
    subscription = ctx.named(
        "subscription", ctx.params["subscription"], param="subscription", status=404
    )
    data = [subscription_item(ctx.world, item) for item in subscription["items"]]
    url = f"/v1/subscription_items?subscription={subscription['id']}"
    return page_of(ctx, data, url, "subscription item")


def _change(ctx: Context, subscription: Obj, named: dict[str, Any]) -> Obj:
    sent = {name: value for name, value in ctx.params.items() if name not in _MONEY}
    sent.pop("subscription", None)
    sent.pop("expand", None)
    params = {name: ctx.params[name] for name in _MONEY if name in ctx.params}
    return change(ctx, subscription, {**params, "items": [{**sent, **named}]})


def _find(ctx: Context) -> tuple[Obj, Obj]:
    """The subscription and the item of an item id; Stripe's message has no code (recorded)."""
    item_id = ctx.args["id"]
    subscription = ctx.world.subscription_of(item_id)
    for item in subscription["items"] if subscription else ():
        if item["id"] == item_id:
            return subscription or {}, item
    problem = bad_request(f"Invalid subscription_item id: {item_id}")
    problem.status = 404
    raise problem


def _item(subscription: Obj, item_id: str) -> Obj:
    return next(item for item in subscription["items"] if item["id"] == item_id)


_ALL = "/v1/subscription_items"
_FIELDS = f"{' '.join(_MONEY)} metadata price price_data quantity tax_rates"
ROUTES = (
    Route("POST", _ALL, create, "SubscriptionItemCreateParams", f"{_FIELDS} subscription"),
    Route("GET", _ALL, list_items, "SubscriptionItemListParams"),
    Route("GET", f"{_ALL}/:id", retrieve, "SubscriptionItemRetrieveParams"),
    Route("POST", f"{_ALL}/:id", update, "SubscriptionItemUpdateParams", _FIELDS),
    Route(
        "DELETE",
        f"{_ALL}/:id",
        delete,
        "SubscriptionItemDeleteParams",
        "clear_usage proration_behavior proration_date payment_behavior",
    ),
)
