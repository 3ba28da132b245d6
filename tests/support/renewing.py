"""Renewals on a test clock: time passes when it is told to, and a worker takes what is due."""

from typing import Any

from sqlalchemy import func, update

from reconcile.settling.work import WorkReport, work_off
from reconcile.tables import events
from tests.support.inbox import an_event
from tests.support.shop import Shop

HOUR_S = 3600
START = 1_790_000_000


def period_end(shop: Shop, sub: str) -> int:
    """The end of the current billing period."""
    items = shop.sandbox.get(f"/v1/subscriptions/{sub}")["items"]["data"]
    return int(items[0]["current_period_end"])


def advance(shop: Shop, clock: str, to: int) -> None:
    """Advance the test clock."""
    shop.sandbox.post(f"/v1/test_helpers/test_clocks/{clock}/advance", {"frozen_time": to})


def cycle(shop: Shop, sub: str) -> list[dict[str, Any]]:
    """The renewal invoices, oldest first."""
    return shop.invoices(sub, "subscription_cycle")


def in_its_hour(shop: Shop, sub: str) -> WorkReport:
    """Work off what waits for the subscription, due by now."""
    with shop.services.sessions.begin() as session:
        session.execute(update(events).where(events.c.state == "pending").values(due_at=func.now()))
    return work_off(shop.services, f"sub:{sub}")


def told_of_something(shop: Shop, sub: str) -> WorkReport:
    """An event comes in and is worked off, with whatever is due within a worker's lease."""
    with shop.services.sessions.begin() as session:
        an_event(session, work_key=f"sub:{sub}", subscription_id=sub, type="invoice.upcoming")
    return work_off(shop.services, f"sub:{sub}")
