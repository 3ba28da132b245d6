"""Closes a page to pay on that nobody needs any more; who decided so is `store.checkouts`.

A page that is paid in the same moment stays paid: Stripe closes only what is open. Its subscription
then tells of itself, as a seat without a member.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson

from reconcile.adjustments import holding
from reconcile.errors import StripeGone, StripeRejected
from reconcile.services import Services
from reconcile.settling.course import Settled
from reconcile.store import work
from reconcile.store.work import ClaimedEvent

# While somebody is paying, Stripe may close nothing; a day later the page is over by itself.
LOOK_AGAIN = timedelta(minutes=1)
# Stripe knows its pages for longer than they last: one that it does not know is another account's.
KEY_AGAIN = timedelta(hours=1)


def close_page(services: Services, page_id: str, batch: list[ClaimedEvent]) -> Settled:
    """Close the page if it is open, and say how it ended; asked again, it does nothing.

    docs.stripe.com/api/checkout/sessions/expire. Raises Paused while writes to Stripe are, and the
    errors of a Stripe call.
    """
    with services.sessions() as session:
        asked = orjson.loads(work.payload_of(session, batch[0].id))
    try:
        page = services.stripe.read(f"/v1/checkout/sessions/{page_id}")
    except StripeGone:
        return _unknown(services.clock(), asked)
    if page["status"] != "open":
        return Settled(line=_over(page["status"], asked))
    with services.sessions() as session:
        holding.guard(session, asked["organization"])
    try:
        services.stripe.expire_checkout_session(page_id)
    except StripeRejected as error:
        again_at = services.clock() + LOOK_AGAIN
        return Settled(line=f"Stripe does not close it now: {error}", again_at=again_at)
    return Settled(line=f"the page on which {asked['member']} could have paid is closed")


def _unknown(now: datetime, asked: Mapping[str, Any]) -> Settled:
    if now.timestamp() >= asked["over_at"]:
        return Settled(line="Stripe knows no such page, and it would be over")
    line = "Stripe knows no such page: is the key of another account or mode?"
    return Settled(line=line, again_at=now + KEY_AGAIN)


def _over(status: str, asked: Mapping[str, Any]) -> str:
    if status != "complete":
        return f"it is {status} already"
    if asked["status"] == "active":
        return f"it was paid, and {asked['member']} is in"
    return "it was paid before it could be closed"
