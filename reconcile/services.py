"""What an orchestration needs, built once per process and passed explicitly."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from reconcile.budget import Budget
from reconcile.catalog import Catalog, load_catalog
from reconcile.database import build_engine, build_sessions
from reconcile.roster import Roster, build_roster
from reconcile.settings import Settings
from reconcile.stripe_api import StripeApi


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Settings, catalog, roster, database, Stripe and the clock of one process."""

    settings: Settings
    catalog: Catalog
    roster: Roster
    engine: Engine
    sessions: sessionmaker[Session]
    stripe: StripeApi
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()
        self.sessions.kw["bind"].dispose()
        self.roster.close()


def build_services(settings: Settings, budget: Budget) -> Services:
    """Return the services of one process. Raises the catalog's errors; connects to nothing yet."""
    catalog = load_catalog(settings.catalog_path)
    return Services(
        settings=settings,
        catalog=catalog,
        roster=build_roster(settings, catalog),
        # Locks have a pool of their own: who holds one always finds a connection to work with, and
        # many threads that hold one each cannot wait for each other's.
        engine=build_engine(settings.database_url),
        sessions=build_sessions(build_engine(settings.database_url)),
        stripe=StripeApi(settings, budget),
    )


def open_services(settings: Settings, budget: Budget) -> Services:
    """Return the services of one process with the catalog's lookup keys found in Stripe.

    One look at the start; a price that is made later is seen by processes started after it. Raises
    CatalogError for keys that Stripe does not know, and the errors of a Stripe call.
    """
    services = build_services(settings, budget)
    wanted = services.catalog.lookup_keys
    if not wanted:
        return services
    try:
        catalog = services.catalog.resolved(services.stripe.price_ids(wanted))
    except BaseException:
        services.close()
        raise
    return replace(services, catalog=catalog, roster=replace(services.roster, catalog=catalog))
