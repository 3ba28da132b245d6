"""Takes finished events out of the inbox after their time. Dead letters stay until a person acts.

Not before Stripe has forgotten them too: the gap audit would bring them in again.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from reconcile import metrics
from reconcile.nights.tasks import TaskReport, once
from reconcile.services import Services
from reconcile.store import work as store
from reconcile.store.runs import Run

TASK = "prune"

# Small enough that no lock is held for long; what a night cannot take, the next one does.
BATCH = 1000
MOST_BATCHES = 1000


def run(services: Services, night: date) -> TaskReport:
    """Delete what is older than `keep_events_days`, once a night."""
    return once(services, TASK, night, _prune)


def _prune(services: Services, run: Run) -> Mapping[str, Any]:
    del run  # what is deleted is gone: there is nothing to go on from
    older_than = timedelta(days=services.settings.keep_events_days)
    deleted = 0
    for _ in range(MOST_BATCHES):
        with services.sessions.begin() as session:
            batch = store.prune(session, older_than=older_than, limit=BATCH)
        deleted += batch
        metrics.PRUNED.inc(batch)
        if batch < BATCH:
            break
    return {"deleted": deleted}
