"""What an orchestration needs, built once per process and passed explicitly."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from reconcile.catalog import Catalog, load_catalog
from reconcile.database import build_engine, build_sessions
from reconcile.roster import Roster, build_roster
from reconcile.settings import Settings
from reconcile.stripe_api import Budget, StripeApi


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


def build_services(settings: Settings, budget: Budget) -> Services:
    """Return the services of one process. Raises the catalog's errors; connects to nothing yet."""
    catalog = load_catalog(settings.catalog_path)
    engine = build_engine(settings.database_url)
    return Services(
        settings=settings,
        catalog=catalog,
        roster=build_roster(settings, catalog),
        engine=engine,
        sessions=build_sessions(engine),
        stripe=StripeApi(settings, budget),
    )
