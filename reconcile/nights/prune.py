"""Retention: personal data goes out of finished events after its time, later the events themselves.

Dead letters stay whole until a person acts. Rows are not deleted before Stripe has forgotten them
too: the gap audit would bring them in again. What the API answered goes when nobody repeats it,
a preview that nobody applied, and a notice long after it was delivered.
"""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from functools import partial
from typing import Any

import orjson
from sqlalchemy.orm import Session

from reconcile import metrics, scrub
from reconcile.nights.tasks import TaskReport, once
from reconcile.services import Services
from reconcile.settings import Settings
from reconcile.store import idempotency, previews
from reconcile.store import retention as store
from reconcile.store.runs import Run
from reconcile.stripe_shapes import TRACE

TASK = "prune"

# Small enough that no lock is held for long; what a night cannot take, the next one does.
BATCH = 1000
MOST_BATCHES = 1000
# Bodies are read and written whole.
BODIES = 200

# A client that repeats a request does so within minutes; a day is what it was promised.
KEEP_ANSWERS = timedelta(days=2)

# A notice's row is the memory of what was told. The longest that something can be news is a yearly
# billing period: forgotten earlier, a contract's peak would be told again in the same period.
KEEP_NOTICES = timedelta(days=400)


def run(services: Services, night: date) -> TaskReport:
    """Redact after `redact_events_days`, delete after `keep_events_days`, once a night."""
    return once(services, TASK, night, _prune)


def _prune(services: Services, run: Run) -> Mapping[str, Any]:
    del run  # what is gone is gone: there is nothing to go on from
    keep = timedelta(days=services.settings.keep_events_days)
    before = services.clock() - KEEP_ANSWERS
    return {
        # The oldest go first, so that nothing is redacted only to be deleted.
        "deleted": _all(services, partial(store.prune, older_than=keep), BATCH, metrics.PRUNED.inc),
        "redacted": _all(
            services, partial(_redact, services.settings), BODIES, metrics.REDACTED.inc
        ),
        "answers": _all(services, partial(idempotency.prune, before=before), BATCH),
        "previews": _all(services, partial(previews.prune, before=before), BATCH),
        "notices": _all(
            services, partial(store.prune_notices, older_than=max(keep, KEEP_NOTICES)), BATCH
        ),
    }


def _all(
    services: Services,
    take: Callable[..., int],
    batch: int,
    count: Callable[[float], None] = lambda _: None,
) -> int:
    """Take batch after batch, each in a transaction of its own, until there is no full one."""
    taken = 0
    for _ in range(MOST_BATCHES):
        with services.sessions.begin() as session:
            found = take(session, limit=batch)
        taken += found
        count(found)
        if found < batch:
            break
    return taken


def _redact(settings: Settings, session: Session, *, limit: int) -> int:
    older_than = timedelta(days=settings.redact_events_days)
    kept = frozenset({TRACE, settings.organization_metadata_key, settings.member_metadata_key})
    found = store.to_redact(session, older_than=older_than, limit=limit)
    store.write_redacted(
        session, [(event_id, redacted_body(body, kept)) for event_id, body in found]
    )
    return len(found)


def redacted_body(body: bytes, kept_metadata: frozenset[str]) -> bytes:
    """Return the body without personal data; nothing of one that cannot be read."""
    try:
        return orjson.dumps(scrub.redacted(orjson.loads(body), kept_metadata=kept_metadata))
    except (ValueError, TypeError, RecursionError):
        return b""
