"""Payment methods: test cards, and how each of them behaves when it is charged.

Only Stripe's published test tokens exist; a card number is never accepted.
Source of the tokens and decline codes: https://docs.stripe.com/testing
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sandbox.http.errors import ApiError, bad_request, no_such
from sandbox.http.fields import changed, set_fields, set_metadata
from sandbox.http.listing import list_page
from sandbox.http.routes import Context, Route
from sandbox.store import Obj, peek
from sandbox.world import World


@dataclass(frozen=True)
class Card:
    """A test card: what it shows, and what charging it does."""

    brand: str
    last4: str
    country: str = "US"
    attach_decline: str | None = None
    charge_decline: str | None = None
    needs_action: bool = False


# token (tok_...) and payment method (pm_card_...) share the part after the prefix
CARDS: dict[str, Card] = {
    "visa": Card("visa", "4242"),
    "visa_debit": Card("visa", "5556"),
    "mastercard": Card("mastercard", "4444"),
    "amex": Card("amex", "0005"),
    "threeDSecure2Required": Card("visa", "3220", "IE", needs_action=True),
    "authenticationRequired": Card("visa", "3184", "IE", needs_action=True),
    "threeDSecureRequired": Card("visa", "3063", needs_action=True),
    "chargeCustomerFail": Card("visa", "0341", charge_decline="generic_decline"),
    "visa_chargeCustomerFail": Card("visa", "0341", charge_decline="generic_decline"),
    "chargeDeclined": Card("visa", "0002", attach_decline="generic_decline"),
    "visa_chargeDeclined": Card("visa", "0002", attach_decline="generic_decline"),
    "chargeDeclinedInsufficientFunds": Card("visa", "9995", attach_decline="insufficient_funds"),
    "visa_chargeDeclinedInsufficientFunds": Card(
        "visa", "9995", attach_decline="insufficient_funds"
    ),
    "chargeDeclinedLostCard": Card("visa", "9987", attach_decline="lost_card"),
    "chargeDeclinedStolenCard": Card("visa", "9979", attach_decline="stolen_card"),
    "chargeDeclinedExpiredCard": Card("visa", "0069", attach_decline="expired_card"),
    "chargeDeclinedIncorrectCvc": Card("visa", "0127", attach_decline="incorrect_cvc"),
    "chargeDeclinedProcessingError": Card("visa", "0119", attach_decline="processing_error"),
}
_MESSAGES = {
    "generic_decline": "Your card was declined.",
    "insufficient_funds": "Your card has insufficient funds.",
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "processing_error": "An error occurred while processing your card. Try again in a little bit.",
}
_OWN_CODES = ("expired_card", "incorrect_cvc", "processing_error")


def card_error(decline_code: str, **extra: object) -> ApiError:
    """A decline: 402 with `card_declined`, or the code's own for the few that have one."""
    own = decline_code in _OWN_CODES
    return ApiError(
        402,
        _MESSAGES.get(decline_code, "Your card was declined."),
        type="card_error",
        code=decline_code if own else "card_declined",
        decline_code=decline_code,
        extra=dict(extra),
    )


def card_of(world: World, method: Obj) -> Card:
    """How a payment method behaves; a decline asked for by control wins over the card."""
    card = CARDS[method["_card"]]
    wanted = world.declines.get(method["customer"] or "")
    if wanted:
        return Card(card.brand, card.last4, card.country, charge_decline=wanted)
    return card


def create(ctx: Context) -> Obj:
    """`POST /v1/payment_methods`: from a test token."""
    params = ctx.params
    if params.get("type") != "card":
        raise bad_request("The sandbox knows payment methods of type card only.", "type")
    token = (params.get("card") or {}).get("token")
    if token is None:
        raise bad_request(
            "Sending credit card numbers directly is not possible here: use a test token such "
            "as tok_visa.",
            "card[number]",
        )
    name = token.removeprefix("tok_")
    if name not in CARDS:
        raise no_such("token", token, "card[token]", 400)
    method = new_method(ctx.world, name)
    set_fields(method, params, "allow_redisplay")
    set_metadata(method, params)
    if "billing_details" in params:
        method["billing_details"] = {**method["billing_details"], **params["billing_details"]}
    return ctx.world.store.put(method)


def new_method(world: World, card_name: str) -> Obj:
    """A card that no customer has yet; not stored."""
    card = CARDS[card_name]
    now = world.now()
    year = datetime.fromtimestamp(now, UTC).year
    return {
        "id": world.store.new_id("payment_method"),
        "object": "payment_method",
        "_card": card_name,
        "allow_redisplay": "unspecified",
        "billing_details": {
            "address": dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state")),
            "email": None,
            "name": None,
            "phone": None,
            "tax_id": None,
        },
        "card": {
            "brand": card.brand,
            "checks": {
                "address_line1_check": None,
                "address_postal_code_check": None,
                "cvc_check": "unchecked",
            },
            "country": card.country,
            "display_brand": card.brand,
            "exp_month": 8,
            "exp_year": year + 1,
            "fingerprint": f"sandbox{card.last4}abcdef",
            "funding": "credit",
            "generated_from": None,
            "last4": card.last4,
            "networks": {"available": [card.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        "created": now,
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        "type": "card",
    }


def materialised(ctx: Context, method_id: str, param: str = "id", status: int = 404) -> Obj:
    """A payment method by id; `pm_card_visa` and its like make a new one, as at Stripe."""
    name = method_id.removeprefix("pm_card_")
    if method_id.startswith("pm_card_") and name in CARDS:
        return ctx.world.store.put(new_method(ctx.world, name))
    found = ctx.world.store.get("payment_method", method_id)
    if found is None:
        raise no_such("PaymentMethod", method_id, param, status)
    return found


def attach_to(ctx: Context, method_id: str, customer_id: str, param: str = "id") -> Obj:
    """Attach a card to a customer; cards that are always declined refuse here already."""
    found = materialised(ctx, method_id, param)
    card = CARDS[found["_card"]]
    if card.attach_decline:
        raise card_error(card.attach_decline)
    if found["customer"] not in (None, customer_id):
        raise bad_request(
            "The payment method you provided has already been attached to a customer.",
        )
    method = ctx.world.store.edit("payment_method", found["id"])
    method["customer"] = customer_id
    method["card"]["checks"]["cvc_check"] = "pass"
    return ctx.world.store.put(method, "payment_method.attached")


def attach(ctx: Context) -> Obj:
    """`POST /v1/payment_methods/:id/attach`."""
    customer_id = ctx.params.get("customer", "")
    customer = ctx.named("customer", customer_id, param="customer", status=400)
    return attach_to(ctx, ctx.args["id"], customer["id"])


def detach(ctx: Context) -> Obj:
    """`POST /v1/payment_methods/:id/detach`: also stops being anyone's default."""
    found = ctx.the("payment_method", what="PaymentMethod")
    if found["customer"] is None:
        raise bad_request(
            "The payment method you provided is not attached to a customer so detachment is "
            "impossible."
        )
    store = ctx.world.store
    customer = store.get("customer", found["customer"])
    if customer and customer["invoice_settings"]["default_payment_method"] == found["id"]:
        changed = store.edit("customer", customer["id"])
        changed["invoice_settings"]["default_payment_method"] = None
        store.put(changed, "customer.updated")
    method = store.edit("payment_method", found["id"])
    method["customer"] = None
    return store.put(method, "payment_method.detached")


def update(ctx: Context) -> Obj:
    """`POST /v1/payment_methods/:id`."""
    found = ctx.the("payment_method", what="PaymentMethod")
    method = ctx.world.store.edit("payment_method", found["id"])
    set_metadata(method, ctx.params)
    if changed(found, method):
        ctx.world.store.put(method, "payment_method.updated")
    return method


def retrieve(ctx: Context) -> Obj:
    """`GET /v1/payment_methods/:id`."""
    return ctx.the("payment_method", what="PaymentMethod")


def list_methods(ctx: Context) -> Obj | bytes:
    """`GET /v1/payment_methods?customer=`."""
    customer, kind = ctx.params.get("customer"), ctx.params.get("type")
    if customer is not None:
        ctx.named("customer", customer, param="customer", status=400)
    return list_page(
        ctx,
        "payment_method",
        by=("customer", customer) if customer is not None else None,
        keep=lambda row: peek(row, "customer") is not None and kind in (None, "card"),
        what="PaymentMethod",
    )


def list_of_customer(ctx: Context) -> Obj | bytes:
    """`GET /v1/customers/:id/payment_methods`."""
    customer, kind = ctx.the("customer"), ctx.params.get("type")
    return list_page(
        ctx,
        "payment_method",
        by=("customer", customer["id"]),
        keep=lambda _row: kind in (None, "card"),
        what="PaymentMethod",
    )


def retrieve_of_customer(ctx: Context) -> Obj:
    """`GET /v1/customers/:id/payment_methods/:method`."""
    customer = ctx.the("customer")
    method = ctx.world.store.get("payment_method", ctx.args["method"])
    if method is None or method["customer"] != customer["id"]:
        raise no_such("PaymentMethod", ctx.args["method"], "payment_method")
    return method


_ALL = "/v1/payment_methods"
ROUTES = (
    Route(
        "POST",
        _ALL,
        create,
        "PaymentMethodCreateParams",
        "type card billing_details metadata allow_redisplay",
    ),
    Route(
        "GET",
        _ALL,
        list_methods,
        "PaymentMethodListParams",
        "customer type limit starting_after ending_before",
    ),
    Route("GET", f"{_ALL}/:id", retrieve, "PaymentMethodRetrieveParams"),
    Route("POST", f"{_ALL}/:id", update, "PaymentMethodUpdateParams", "metadata"),
    Route("POST", f"{_ALL}/:id/attach", attach, "PaymentMethodAttachParams", "customer"),
    Route("POST", f"{_ALL}/:id/detach", detach, "PaymentMethodDetachParams"),
    Route(
        "GET",
        "/v1/customers/:id/payment_methods",
        list_of_customer,
        "CustomerPaymentMethodListParams",
    ),
    Route(
        "GET",
        "/v1/customers/:id/payment_methods/:method",
        retrieve_of_customer,
        "CustomerPaymentMethodRetrieveParams",
    ),
)
