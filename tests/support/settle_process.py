"""A process of its own that settles one subscription, for tests that kill it or start two.

`python -m tests.support.settle_process SUBSCRIPTION [TRIES]`: prints how it ended. Without the lock
it tries again, as the relay would send it again.
"""

import sys
import time

from reconcile.database import exclusive
from reconcile.errors import RetryLater
from reconcile.settings import Settings
from reconcile.settling.settle import settle_subscription
from tests.support.services import running_services
from tests.support.shop import with_catalog


def main(subscription_id: str, tries: int = 100) -> None:
    """Settle it, waiting its turn."""
    with running_services(Settings()) as built:
        keys = built.stripe.price_ids(built.catalog.lookup_keys)
        services = with_catalog(built, built.catalog.resolved(keys))
        for _ in range(tries):
            with exclusive(services.engine, f"sub:{subscription_id}") as mine:
                if mine:
                    try:
                        settled = settle_subscription(services, subscription_id, trigger="process")
                    except RetryLater as error:
                        print(type(error).__name__, flush=True)  # noqa: T201 - it is what is read
                        return
                    print(settled.line, flush=True)  # noqa: T201 - its parent reads it
                    return
            time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1], *(int(value) for value in sys.argv[2:]))
