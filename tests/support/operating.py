"""What tests of on-call's functions share: workers of this process, and what they left."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import select, text

from reconcile.actor import Actor
from reconcile.policy.values import FindingKind, Observation
from reconcile.services import Services
from reconcile.settling.work import work_off
from reconcile.store import findings
from reconcile.store import work as store
from reconcile.store.findings import Scope
from reconcile.tables import audit_trail, events
from tests.support.inbox import an_event
from tests.support.shop import Shop

KIM = Actor("cli:kim", because="the cause is gone")


def work_all(services: Services, *, threads: int = 1, rounds: int = 200) -> None:
    """Work off everything that is due, as a relay and so many workers would, until nothing is.

    What is due in a moment (another worker had its key) is waited for.
    """
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(rounds):
            with services.sessions.begin() as session:
                due = store.take_due(session, limit=100, lease=timedelta(seconds=20))
                soon = services.clock() + timedelta(seconds=2)
                coming = select(events.c.id).where(
                    events.c.state == "pending",
                    events.c.held_by.is_(None),
                    events.c.due_at <= soon,
                )
                waits = session.execute(coming.limit(1)).one_or_none()
            if not due and waits is None:
                return
            list(pool.map(lambda each: work_off(services, each.work_key), due))
            if not due:
                time.sleep(0.1)


def lowered(shop: Shop, *, voice: int) -> str:
    """A subscription of that many active Voice seats that somebody in the dashboard made two."""
    subscription = shop.subscribe(shop.organization(voice=voice), {"voice": voice})
    shop.settle(subscription)
    shop.edit(subscription, "voice", 2)
    return subscription


def raised_back(services: Services, shop: Shop, *, voice: int) -> tuple[str, str]:
    """One that was `lowered` and raised back since; returns its id and the event that told."""
    subscription = lowered(shop, voice=voice)
    event_id = put(
        services, work_key=f"sub:{subscription}", subscription_id=subscription, kind="thin"
    )
    work_all(services)
    return subscription, event_id


@contextmanager
def working(services: Services) -> Iterator[None]:
    """Workers in the background, until the block ends."""
    stopping = threading.Event()

    def work() -> None:
        while not stopping.wait(0.05):
            work_all(services, threads=2)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def put(services: Services, **values: Any) -> str:
    """Put an event into the inbox."""
    with services.sessions.begin() as session:
        return an_event(session, **values)


def dead(services: Services, fingerprint: str = "Boom@work.settle", **values: Any) -> str:
    """Put a dead letter into the inbox."""
    values = {
        "state": "dead",
        "attempts": 12,
        "error_class": "permanent",
        "error_fingerprint": fingerprint,
        "reason": "boom",
        "due_at": None,
    } | values
    return put(services, **values)


def rows(services: Services) -> dict[str, Any]:
    """Every inbox row by id."""
    with services.sessions() as session:
        return {row.id: row for row in session.execute(select(events))}


def locks_waited_for(services: Services) -> int:
    """How many connections of the test's database wait for a named lock or a row's."""
    waiting = text(
        "select count(*) from pg_stat_activity where datname = current_database() "
        "and wait_event_type = 'Lock' and wait_event in ('advisory', 'transactionid')"
    )
    with services.sessions() as session:
        return int(session.scalar(waiting) or 0)


def audited(services: Services, action: str) -> list[Any]:
    """The audit entries of an action, the oldest first."""
    wanted = select(audit_trail).where(audit_trail.c.action == action).order_by(audit_trail.c.id)
    with services.sessions() as session:
        return list(session.execute(wanted))


OF_ONE = Scope(organization_id="org_1", subscription_id="sub_1")


def found_differing(
    services: Services,
    kind: FindingKind = FindingKind.INVOICE_DIFFERS_FROM_PREVIEW,
    *,
    adjustment: str | None,
    scope: Scope = OF_ONE,
) -> int:
    """The number of an open finding: of an adjustment's invoice, or of another kind."""
    told = Observation(
        kind=kind,
        summary="total 501, previewed 500",
        adjustment_id=adjustment,
        detail={"adjustment": adjustment} if adjustment else {},
    )
    with services.sessions.begin() as session:
        findings.observe(session, scope, told, at=services.clock(), opened_by=adjustment or "test")
        return max(each.id for each in findings.open_of(session, scope))
