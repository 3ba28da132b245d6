"""Services for tests: the real ones, on the test's database, queue and sandbox."""

from collections.abc import Iterator
from contextlib import contextmanager

from reconcile.budget import Unbudgeted
from reconcile.services import Services, build_services
from reconcile.settings import Settings


@contextmanager
def running_services(settings: Settings) -> Iterator[Services]:
    """The services that the settings ask for, without a limit of calls; let go at the end."""
    services = build_services(settings, Unbudgeted())
    try:
        yield services
    finally:
        services.close()


def environment(settings: Settings) -> dict[str, str]:
    """The settings as variables, for a process that reads its own."""
    secrets = ",".join(f"{k}={v.get_secret_value()}" for k, v in settings.webhook_secrets.items())
    return {
        "TRUEUP_DATABASE_URL": settings.database_url,
        "TRUEUP_REDIS_URL": settings.redis_url,
        "TRUEUP_STRIPE_API_KEY": settings.stripe_api_key.get_secret_value(),
        "TRUEUP_STRIPE_API_BASE": settings.stripe_api_base,
        "TRUEUP_CATALOG_PATH": str(settings.catalog_path),
        "TRUEUP_WEBHOOK_SECRETS": secrets,
    }
