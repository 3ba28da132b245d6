"""The customer portal: what it would let customers do, and links into it.

There is no portal behind the links. What matters here is the configuration, since one that lets
customers edit quantities works against whoever keeps them.
"""

from __future__ import annotations

import secrets
from typing import Any

from sandbox.http.errors import bad_request
from sandbox.http.fields import set_fields, set_metadata
from sandbox.http.listing import list_page
from sandbox.http.routes import Context, Route
from sandbox.store import Obj, Row, peek
from sandbox.world import World

CONFIGURATION = "billing_portal.configuration"
SESSION = "billing_portal.session"
_FIELDS = "business_profile default_return_url features login_page metadata name"
_CANCEL_OPTIONS = [
    "too_expensive",
    "missing_features",
    "switched_service",
    "unused",
    "other",
]


def _features() -> Obj:
    """Everything off: a feature that is not asked for is not there."""
    return {
        "customer_update": {"allowed_updates": [], "enabled": False},
        "invoice_history": {"enabled": False},
        "payment_method_update": {"enabled": False, "payment_method_configuration": None},
        "subscription_cancel": {
            "cancellation_reason": {
                "enabled": False,
                "feedback_options": None,
                "options": _CANCEL_OPTIONS,
            },
            "enabled": False,
            "mode": "at_period_end",
            "proration_behavior": "none",
        },
        "subscription_pause": {
            "duration": {"interval_options": [], "type": "indefinite"},
            "enabled": False,
        },
        "subscription_update": {
            "billing_cycle_anchor": None,
            "default_allowed_updates": [],
            "enabled": False,
            "products": None,
            "proration_behavior": "none",
            "schedule_at_period_end": {"conditions": []},
            "trial_update_behavior": "end_trial",
        },
    }


def _blank(world: World, *, default: bool) -> Obj:
    now = world.clock.now()
    return {
        "id": world.store.new_id(CONFIGURATION),
        "object": CONFIGURATION,
        "active": True,
        "application": None,
        "business_profile": {
            "headline": None,
            "privacy_policy_url": None,
            "terms_of_service_url": None,
        },
        "created": now,
        "default_return_url": None,
        "features": _features(),
        "is_default": default,
        "livemode": False,
        "login_page": {"enabled": False, "url": None},
        "metadata": {},
        "name": None,
        "updated": now,
    }


def create_configuration(ctx: Context) -> Obj:
    """`POST /v1/billing_portal/configurations`."""
    configuration = _blank(ctx.world, default=False)
    _fill(configuration, ctx.params)
    return ctx.world.store.put(configuration, f"{CONFIGURATION}.created")


def update_configuration(ctx: Context) -> Obj:
    """`POST /v1/billing_portal/configurations/:id`."""
    configuration = ctx.world.store.edit(CONFIGURATION, _named(ctx, ctx.args["id"])["id"])
    _fill(configuration, ctx.params)
    if "active" in ctx.params:
        if configuration["is_default"] and not ctx.params["active"]:
            raise bad_request("The default configuration cannot be made inactive.", "active")
        configuration["active"] = ctx.params["active"]
    configuration["updated"] = ctx.world.clock.now()
    return ctx.world.store.put(configuration, f"{CONFIGURATION}.updated")


def retrieve_configuration(ctx: Context) -> Obj:
    """`GET /v1/billing_portal/configurations/:id`."""
    return _named(ctx, ctx.args["id"])


def list_configurations(ctx: Context) -> Obj | bytes:
    """`GET /v1/billing_portal/configurations`, by `active` and `is_default`."""
    wanted = {name: ctx.params[name] for name in ("active", "is_default") if name in ctx.params}

    def keep(row: Row) -> bool:
        return all(peek(row, name) == value for name, value in wanted.items())

    return list_page(ctx, CONFIGURATION, keep=keep)


def create_session(ctx: Context) -> Obj:
    """`POST /v1/billing_portal/sessions`: a link that nobody answers."""
    if "customer" not in ctx.params:
        raise bad_request("Missing required param: customer.", "customer", "parameter_missing")
    customer = ctx.named("customer", ctx.params["customer"], param="customer", status=400)
    configuration = _configuration_of(ctx)
    if not configuration["active"]:
        raise bad_request("This configuration is not active.", "configuration")
    session_id = ctx.world.store.new_id(SESSION)
    session: Obj = {
        "id": session_id,
        "object": SESSION,
        "configuration": configuration["id"],
        "created": ctx.world.now_of(customer),
        "customer": customer["id"],
        "customer_account": None,
        "flow": None,
        "livemode": False,
        "locale": ctx.params.get("locale"),
        "on_behalf_of": None,
        "return_url": ctx.params.get("return_url", configuration["default_return_url"]),
        "url": f"https://billing.stripe.com/p/session/test_{secrets.token_urlsafe(24)}",
    }
    return ctx.world.store.put(session, f"{SESSION}.created")


def _configuration_of(ctx: Context) -> Obj:
    """The one that is named, or the account's default, which exists from its first use."""
    if "configuration" in ctx.params:
        return _named(ctx, ctx.params["configuration"], "configuration", 400)
    for configuration in ctx.world.store.all(CONFIGURATION):
        if configuration["is_default"]:
            return configuration
    return ctx.world.store.put(_blank(ctx.world, default=True))


def _named(ctx: Context, object_id: str, param: str = "id", status: int = 404) -> Obj:
    return ctx.named(CONFIGURATION, object_id, what="configuration", param=param, status=status)


def _fill(configuration: Obj, params: dict[str, Any]) -> None:
    set_fields(configuration, params, "default_return_url name")
    set_metadata(configuration, params)
    for name in ("business_profile", "features"):
        _merge(configuration[name], params.get(name) or {})
    login = params.get("login_page")
    if login is not None:
        link = f"https://billing.stripe.com/p/login/test_{secrets.token_hex(8)}"
        on = login["enabled"]
        configuration["login_page"] = {"enabled": on, "url": link if on else None}
    update = configuration["features"]["subscription_update"]
    if update["enabled"] and not update["default_allowed_updates"]:
        raise bad_request(
            "Subscription update needs default_allowed_updates.",
            "features[subscription_update][default_allowed_updates]",
        )
    for product in update["products"] or []:
        product.setdefault("adjustable_quantity", {"enabled": False, "maximum": None, "minimum": 1})


def _merge(into: Obj, sent: Obj) -> None:
    """Hashes are merged, arrays replaced, an empty string unsets."""
    for name, value in sent.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        elif value == "":
            into[name] = [] if isinstance(into.get(name), list) else None
        else:
            into[name] = value


_CONFIGURATIONS = "/v1/billing_portal/configurations"
_ONE = f"{_CONFIGURATIONS}/:id"
_SCHEMA = "billing_portal.Configuration"
ROUTES = (
    Route("POST", _CONFIGURATIONS, create_configuration, f"{_SCHEMA}CreateParams", _FIELDS),
    Route("GET", _CONFIGURATIONS, list_configurations, f"{_SCHEMA}ListParams"),
    Route("GET", _ONE, retrieve_configuration, f"{_SCHEMA}RetrieveParams"),
    Route("POST", _ONE, update_configuration, f"{_SCHEMA}UpdateParams", f"active {_FIELDS}"),
    Route(
        "POST",
        "/v1/billing_portal/sessions",
        create_session,
        "billing_portal.SessionCreateParams",
        "configuration customer locale return_url",
    ),
)
