"""Coupons and the discounts of subscriptions.

A subscription's discount lowers its ordinary lines visibly (`discount_amounts`) and is folded
into the amounts of its prorations (recorded: those lines are not discountable).
"""

from __future__ import annotations

import secrets
from fractions import Fraction
from typing import Any

from sandbox.billing.proration import add_intervals, half_up, line_amount
from sandbox.http.errors import bad_request, no_such
from sandbox.http.fields import changed, set_fields, set_metadata
from sandbox.http.listing import list_page
from sandbox.http.routes import Context, Route
from sandbox.store import Obj
from sandbox.world import World


def create(ctx: Context) -> Obj:
    """`POST /v1/coupons`: a percentage or an amount off."""
    params = ctx.params
    percent, amount = params.get("percent_off"), params.get("amount_off")
    if (percent in (None, "")) == (amount in (None, "")):
        raise bad_request("You must pass either percent_off or amount_off.", "percent_off")
    coupon_id = params.get("id") or secrets.token_urlsafe(6).replace("-", "a").replace("_", "b")
    if ctx.world.store.get("coupon", coupon_id) is not None:
        raise bad_request("Coupon already exists.", "id", "resource_already_exists")
    coupon: Obj = {
        "id": coupon_id,
        "object": "coupon",
        "amount_off": amount or None,
        "created": ctx.world.now(),
        "currency": params["currency"].lower() if amount else None,
        "duration": params.get("duration", "once"),
        "duration_in_months": params.get("duration_in_months"),
        "livemode": False,
        "max_redemptions": params.get("max_redemptions"),
        "metadata": {},
        "name": None,
        "percent_off": percent or None,
        "redeem_by": params.get("redeem_by"),
        "times_redeemed": 0,
        "valid": True,
    }
    set_fields(coupon, params, "name")
    set_metadata(coupon, params)
    return ctx.world.store.put(coupon, "coupon.created")


def update(ctx: Context) -> Obj:
    """`POST /v1/coupons/:id`."""
    before = ctx.the("coupon")
    coupon = ctx.world.store.edit("coupon", before["id"])
    set_fields(coupon, ctx.params, "name")
    set_metadata(coupon, ctx.params)
    if changed(before, coupon):
        ctx.world.store.put(coupon, "coupon.updated")
    return coupon


def retrieve(ctx: Context) -> Obj:
    """`GET /v1/coupons/:id`."""
    return ctx.the("coupon")


def delete(ctx: Context) -> Obj:
    """`DELETE /v1/coupons/:id`: discounts made from it go on."""
    coupon = ctx.the("coupon")
    ctx.world.store.delete("coupon", coupon["id"], "coupon.deleted")
    return {"id": coupon["id"], "object": "coupon", "deleted": True}


def list_coupons(ctx: Context) -> Obj | bytes:
    """`GET /v1/coupons`."""
    return list_page(ctx, "coupon")


def redeem(world: World, sent: Any, customer_id: str, subscription_id: str, now: int) -> list[str]:
    """Discounts of a subscription from `discounts[]`; returns their ids."""
    if not sent:
        return []
    ids: list[str] = []
    for index, one in enumerate(sent):
        if "discount" in one:
            ids.append(one["discount"])
            continue
        if "coupon" not in one:
            raise bad_request("The sandbox takes coupons only.", f"discounts[{index}]")
        coupon = world.store.get("coupon", one["coupon"])
        if coupon is None:
            raise no_such("coupon", one["coupon"], f"discounts[{index}][coupon]", 400)
        _use(world, coupon, now, f"discounts[{index}][coupon]")
        months = coupon["duration_in_months"]
        repeating = coupon["duration"] == "repeating" and months
        discount: Obj = {
            "id": world.store.new_id("discount"),
            "object": "discount",
            "_coupon": coupon,
            "checkout_session": None,
            "customer": customer_id,
            "customer_account": None,
            "end": add_intervals(now, "month", months) if repeating else None,
            "invoice": None,
            "invoice_item": None,
            "promotion_code": None,
            "source": {"coupon": coupon["id"], "type": "coupon"},
            "start": now,
            "subscription": subscription_id,
            "subscription_item": None,
        }
        world.store.put(discount, "customer.discount.created")
        ids.append(discount["id"])
    return ids


def _use(world: World, coupon: Obj, now: int, param: str) -> None:
    """Count a redemption; a coupon that is used up or too old is refused."""
    used = int(coupon["times_redeemed"]) + 1
    limit, until = coupon["max_redemptions"], coupon["redeem_by"]
    if (limit is not None and used > limit) or (until is not None and now > until):
        raise bad_request("This coupon has expired.", param, "coupon_expired")
    world.store.put({**coupon, "times_redeemed": used, "valid": limit is None or used < limit})


def in_force(world: World, ids: list[str], now: int) -> list[Obj]:
    """The discounts that still apply."""
    found = [world.store.need("discount", one) for one in ids]
    return [one for one in found if one["end"] is None or one["end"] > now]


def spent(world: World, ids: list[str], now: int) -> list[str]:
    """What is left of a subscription's discounts once an invoice has used them."""
    return [one["id"] for one in in_force(world, ids, now) if one["_coupon"]["duration"] != "once"]


def shares(discounts: list[Obj], amounts: list[Fraction]) -> list[list[int]]:
    """For every discount, how much it takes off each amount, in minor units.

    Discounts apply one after the other; an amount off is spread in proportion, its remainder
    on the last amount.
    """
    left = list(amounts)
    result: list[list[int]] = []
    for discount in discounts:
        coupon = discount["_coupon"]
        if coupon["percent_off"] is not None:
            percent = Fraction(str(coupon["percent_off"]))
            off = [half_up(amount * percent / 100) for amount in left]
        else:
            off = _spread(min(Fraction(coupon["amount_off"]), sum(left, Fraction(0))), left)
        left = [amount - part for amount, part in zip(left, off, strict=True)]
        result.append(off)
    return result


def _spread(total: Fraction, amounts: list[Fraction]) -> list[int]:
    whole = sum(amounts, Fraction(0))
    if whole <= 0:
        return [0] * len(amounts)
    off = [half_up(total * amount / whole) for amount in amounts]
    off[-1] += half_up(total) - sum(off)
    return off


def folded(discounts: list[Obj], amount: Fraction, whole: Fraction) -> Fraction:
    """An amount with all discounts folded in; `whole` is what the subscription costs a period."""
    for discount in discounts:
        coupon = discount["_coupon"]
        if coupon["percent_off"] is not None:
            amount -= amount * Fraction(str(coupon["percent_off"])) / 100
        elif whole > 0:
            amount -= min(Fraction(coupon["amount_off"]), whole) * amount / whole
    return amount


def whole_amount(world: World, subscription: Obj, item: Obj) -> Fraction:
    """What the item costs a period with the subscription's discounts folded in."""
    price = world.store.need("price", item["price"])
    amount = line_amount(price, item.get("quantity", 0))
    now = world.now_of(subscription)
    discounts = in_force(world, subscription["discounts"], now)
    if not discounts:
        return amount
    whole = sum(
        (
            line_amount(world.store.need("price", one["price"]), one.get("quantity", 0))
            for one in subscription["items"]
        ),
        Fraction(0),
    )
    return folded(discounts, amount, whole)


ROUTES = (
    Route(
        "POST",
        "/v1/coupons",
        create,
        "CouponCreateParams",
        "id amount_off percent_off currency duration duration_in_months max_redemptions "
        "metadata name redeem_by",
    ),
    Route("GET", "/v1/coupons", list_coupons, "CouponListParams"),
    Route("GET", "/v1/coupons/:id", retrieve, "CouponRetrieveParams"),
    Route("POST", "/v1/coupons/:id", update, "CouponUpdateParams", "metadata name"),
    Route("DELETE", "/v1/coupons/:id", delete, "CouponDeleteParams"),
)
