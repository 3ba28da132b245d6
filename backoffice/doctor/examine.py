"""All checks in one list, each area on its own: one that cannot be reached hides no other."""

from collections.abc import Iterator

from backoffice.doctor import machine, rights, setup
from backoffice.doctor.findings import Found, fail, gather
from reconcile.budget import Unbudgeted
from reconcile.catalog import Catalog
from reconcile.database import build_engine
from reconcile.settings import Settings
from reconcile.stripe_api import StripeApi

_NETWORK = "check the network and TRUEUP_STRIPE_API_BASE; status.stripe.com tells of outages"


def examine(settings: Settings, public_url: str | None = None) -> Iterator[Found]:
    """Yield every finding, as they are made. `public_url` is where Stripe should deliver to."""
    yield from machine.settings_found(settings)
    catalog, found = machine.catalog_found(settings)
    yield found
    yield from _database(settings, catalog)
    if settings.redis_url:
        do = "start it, or correct TRUEUP_REDIS_URL; events are stored meanwhile"
        yield from gather("queue", do, lambda: machine.queue_found(settings), machine.QUEUE_ERRORS)
    else:
        yield fail("queue", "reachable", "not set", "set TRUEUP_REDIS_URL")
    if settings.stripe_api_key.get_secret_value():
        yield from _stripe(settings, catalog, public_url)


def _database(settings: Settings, catalog: Catalog | None) -> Iterator[Found]:
    if not settings.database_url:
        yield fail("database", "reachable", "not set", "set TRUEUP_DATABASE_URL")
        return
    errors = machine.DATABASE_ERRORS
    try:
        engine = build_engine(settings.database_url)
    except ValueError as error:
        yield fail("database", "reachable", str(error), "correct TRUEUP_DATABASE_URL")
        return
    do = "start it, or correct TRUEUP_DATABASE_URL"
    found = list(gather("database", do, lambda: machine.database_found(engine), errors))
    yield from found
    if catalog and all(one.check != "reachable" for one in found):
        do = "create the view `organization_id, seat_type, active`, or correct TRUEUP_ROSTER_VIEW"
        yield from gather(
            "roster", do, lambda: machine.roster_found(settings, catalog, engine), errors
        )
    if all(one.check not in {"reachable", "migrations"} or one.health == "ok" for one in found):
        do = "look at the notices: trueup notices list --not-delivered"
        yield from gather("host", do, lambda: machine.host_found(settings, engine), errors)
    engine.dispose()


def _stripe(settings: Settings, catalog: Catalog | None, public_url: str | None) -> Iterator[Found]:
    api = StripeApi(settings, Unbudgeted())
    found = list(gather("stripe key", _NETWORK, lambda: rights.rights_found(api), ()))
    yield from found
    if any(one.check in {"accepted", "reachable"} for one in found):
        return
    yield from gather(
        "webhook endpoint", _NETWORK, lambda: setup.endpoint_found(api, public_url), ()
    )
    yield from gather("webhook endpoint", _NETWORK, lambda: setup.deliveries_found(api), ())
    if catalog:
        yield from gather("prices", _NETWORK, lambda: setup.prices_found(api, catalog), ())
    yield from gather("customer portal", _NETWORK, lambda: setup.portal_found(api), ())
