"""How the Stripe account is set up: webhook endpoint, prices of the catalog, customer portal."""

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from backoffice.doctor.findings import Found, fail, ok, warn
from reconcile.catalog import Catalog, Price
from reconcile.envelope import NEEDED_TYPES
from reconcile.errors import StripeGone, StripeKeyRefused
from reconcile.policy.proration import PriceModel, Tier, TiersMode
from reconcile.settings import STRIPE_API_VERSION
from reconcile.stripe_api import StripeApi

PATH = "/webhooks/stripe"
DELIVERIES_OVER_S = 3600
ON_ITS_WAY_S = 60
MOST_UNDELIVERED = 100


def endpoint_found(api: StripeApi, public_url: str | None) -> Iterator[Found]:
    """The webhook endpoint that points at us: url, status, event types, API version."""
    try:
        endpoints = list(api.listed("/v1/webhook_endpoints"))
    except StripeKeyRefused:
        return  # the rights say so already
    ours = [one for one in endpoints if _points_here(str(one["url"]), public_url)]
    if not ours:
        wanted = public_url or f"https://your-host{PATH}"
        others = ", ".join(str(one["url"]) for one in endpoints[:3]) or "none at all"
        do = f"create an endpoint for {wanted} at Stripe, Developers, Webhooks"
        yield fail("webhook endpoint", "url", f"none for us (there is: {others})", do)
    for endpoint in ours:
        yield from _endpoint(endpoint)


def _points_here(url: str, public_url: str | None) -> bool:
    if public_url:
        return url.rstrip("/") == public_url.rstrip("/")
    return urlsplit(url).path == PATH


def _endpoint(endpoint: Any) -> Iterator[Found]:
    url, area = str(endpoint["url"]), "webhook endpoint"
    if endpoint["status"] == "enabled":
        yield ok(area, "url", url)
    else:
        yield fail(area, "url", f"{url} is {endpoint['status']}", "enable it at Stripe")
    wanted = set(endpoint["enabled_events"])
    missing = [] if "*" in wanted else [one for one in NEEDED_TYPES if one not in wanted]
    if missing:
        do = f"add to the endpoint: {', '.join(missing)}"
        yield fail(area, "event types", f"{len(missing)} missing", do)
    else:
        yield ok(area, "event types", "all" if "*" in wanted else "all that are needed")
    version = endpoint["api_version"]
    if version == STRIPE_API_VERSION:
        yield ok(area, "API version", version)
    else:
        seen = f"{version or 'the account default'}, not {STRIPE_API_VERSION}"
        do = "works, at one more call an event; make the endpoint anew with this version"
        yield warn(area, "API version", seen, do)


def deliveries_found(api: StripeApi) -> Iterator[Found]:
    """Whether Stripe could deliver what it made in the last hour; only Stripe knows of the rest.

    `delivery_success`: https://docs.stripe.com/api/events/list
    """
    now = int(time.time())
    # What is younger may still be on its way.
    created = {"gte": now - DELIVERIES_OVER_S, "lte": now - ON_ITS_WAY_S}
    area, check = "webhook endpoint", "deliveries"
    try:
        page = api.read(
            "/v1/events", types=list(NEEDED_TYPES), delivery_success=False, created=created,
            limit=MOST_UNDELIVERED,
        )  # fmt: skip
    except StripeKeyRefused:
        return  # the rights say so already
    if not page["data"]:
        yield ok(area, check, "nothing of the last hour failed")
        return
    more = "or more " if page["has_more"] else ""
    do = (
        "see at Stripe, Developers, Webhooks, what was answered: 400 is a secret that is not in "
        "TRUEUP_WEBHOOK_SECRETS; once mended, trueup events backfill"
    )
    yield warn(area, check, f"{len(page['data'])} {more}of the last hour failed", do)


def prices_found(api: StripeApi, catalog: Catalog) -> Iterator[Found]:
    """Each price of the catalog, held against Stripe's."""
    ids = api.price_ids(catalog.lookup_keys)
    for price in catalog.prices():
        price_id = price.id or ids.get(price.lookup_key or "")
        check = f"{price.plan}: {price.seat_type or 'fee'}, {price.interval}, {price.currency}"
        if price_id is None:
            do = f"create an active price with lookup_key {price.lookup_key}: {costs(price)}"
            yield fail("prices", check, f"no active price {price.name}", do)
            continue
        try:
            stored = api.read(f"/v1/prices/{price_id}", expand=["tiers"])
        except StripeGone:
            do = f"correct the id in the catalog; it should cost {costs(price)}"
            yield fail("prices", check, f"{price_id} does not exist in this mode", do)
            continue
        except StripeKeyRefused:
            return  # the rights say so already
        if wrong := list(_differences(price, stored)):
            do = f"correct the catalog, or make a new price: {costs(price)}"
            yield fail("prices", check, "; ".join(wrong), do)
        else:
            yield ok("prices", check, f"{price_id}, {costs(price)}")


def _differences(price: Price, stored: Any) -> Iterator[str]:
    recurring = stored["recurring"] or {}
    if not stored["active"]:
        yield "archived"
    if stored["currency"] != price.currency:
        yield f"in {stored['currency']}"
    if not recurring:
        yield "not recurring"
        return
    interval = (recurring["interval"], recurring["interval_count"])
    if interval != (price.interval, 1):
        yield f"every {interval[1]} {interval[0]}"
    if recurring["usage_type"] != "licensed":
        yield "metered: quantities cannot be set"
    if (charged := _model_of(stored)) != price.model:
        yield f"costs {_text(charged)}" if charged else "costs fractions of the minor unit"


def _model_of(stored: Any) -> PriceModel | None:
    """What a price of Stripe's costs; None for amounts that are no whole minor units."""
    if stored["billing_scheme"] == "per_unit":
        amount = stored["unit_amount"]
        return None if amount is None else PriceModel(unit_minor=amount)
    tiers = stored["tiers"]
    if any(tier["unit_amount"] is None and tier["unit_amount_decimal"] for tier in tiers):
        return None
    return PriceModel(
        tiers_mode=TiersMode(stored["tiers_mode"]),
        tiers=tuple(
            Tier(
                up_to=tier["up_to"],
                unit_minor=tier["unit_amount"] or 0,
                flat_minor=tier["flat_amount"] or 0,
            )
            for tier in tiers
        ),
    )


def costs(price: Price) -> str:
    """What the catalog says a price costs, in minor units: `4900 usd a month, each`."""
    return f"{_text(price.model)} {price.currency} a {price.interval}, in minor units"


def _text(model: PriceModel) -> str:
    if model.tiers_mode is None:
        return f"{model.unit_minor} each"
    steps = [
        f"{tier.unit_minor}{f' + {tier.flat_minor}' if tier.flat_minor else ''} "
        f"{f'up to {tier.up_to}' if tier.up_to else 'beyond'}"
        for tier in model.tiers
    ]
    return f"{model.tiers_mode} tiers ({', '.join(steps)})"


def portal_found(api: StripeApi) -> Iterator[Found]:
    """Whether the customer portal lets customers edit quantities (B11)."""
    try:
        configurations = list(api.listed("/v1/billing_portal/configurations", active=True))
    except StripeKeyRefused:
        do = "grant Customer portal read, or look at Settings, Billing, Customer portal yourself"
        yield warn("customer portal", "quantity editing", "not readable with this key", do)
        return
    editing = [one["id"] for one in configurations if _edits_quantity(one["features"])]
    if editing:
        seen = f"{', '.join(editing)} lets customers change quantities"
        do = "turn off quantity changes at Stripe, Settings, Billing, Customer portal"
        yield warn("customer portal", "quantity editing", seen, do)
    else:
        yield ok("customer portal", "quantity editing", "off")


def _edits_quantity(features: Any) -> bool:
    update = features["subscription_update"]
    return bool(update["enabled"]) and "quantity" in (update["default_allowed_updates"] or [])
