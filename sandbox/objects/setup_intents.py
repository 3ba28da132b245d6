"""Setup intents: only the one a trial without a card carries."""

from __future__ import annotations

from sandbox.http.routes import Context, Route
from sandbox.store import Obj
from sandbox.world import World


def pending_setup(world: World, subscription: Obj, now: int) -> str | None:
    """The id of a setup intent for a subscription nobody could pay for yet, or None."""
    customer = world.store.need("customer", subscription["customer"])
    if (
        subscription["default_payment_method"]
        or customer["invoice_settings"]["default_payment_method"]
        or subscription["collection_method"] == "send_invoice"
    ):
        return None
    intent: Obj = {
        "id": world.store.new_id("setup_intent"),
        "object": "setup_intent",
        "application": None,
        "automatic_payment_methods": None,
        "cancellation_reason": None,
        "client_secret": None,
        "created": now,
        "customer": customer["id"],
        "customer_account": None,
        "description": None,
        "flow_directions": None,
        "last_setup_error": None,
        "latest_attempt": None,
        "livemode": False,
        "mandate": None,
        "metadata": {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": None,
        "payment_method_types": ["card"],
        "single_use_mandate": None,
        "status": "requires_payment_method",
        "usage": "off_session",
    }
    intent["client_secret"] = f"{intent['id']}_secret_sandbox"
    world.store.put(intent, "setup_intent.created")
    return str(intent["id"])


def retrieve(ctx: Context) -> Obj:
    """`GET /v1/setup_intents/:id`."""
    return ctx.the("setup_intent")


ROUTES = (
    Route("GET", "/v1/setup_intents/:id", retrieve, "SetupIntentRetrieveParams", "client_secret"),
)
