"""Services for a process of its own, on a sandbox whose prices a test has created."""

from collections.abc import Iterator
from contextlib import contextmanager

from reconcile.services import Services
from reconcile.settings import Settings
from tests.support.services import running_services
from tests.support.shop import with_catalog


@contextmanager
def services(settings: Settings) -> Iterator[Services]:
    """The services, with the catalog's lookup keys resolved through Stripe."""
    with running_services(settings) as built:
        ids = built.stripe.price_ids(built.catalog.lookup_keys)
        yield with_catalog(built, built.catalog.resolved(ids))
