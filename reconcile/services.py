"""What an orchestration needs, built once per process and passed explicitly."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from reconcile.catalog import Catalog
from reconcile.roster import Roster
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
