"""Closes a page to pay on that nobody needs any more; who decided so is `store.checkouts`.

A page that is paid in the same moment stays paid: Stripe closes only what is open. Its subscription
then tells of itself, as a seat without a member.
"""

from datetime import timedelta

import orjson

from reconcile.adjustments import holding
from reconcile.errors import StripeGone, StripeRejected
from reconcile.services import Services
from reconcile.settling.course import Settled
from reconcile.store import work
from reconcile.store.work import ClaimedEvent

# While somebody is paying, Stripe may close nothing; a day later the page is over by itself.
LOOK_AGAIN = timedelta(minutes=1)

_OVER = {
    "complete": "it was paid before it could be closed",
    "expired": "it is closed already",
}


def close_page(services: Services, page_id: str, batch: list[ClaimedEvent]) -> Settled:
    """Close the page if it is open, and say how it ended; asked again, it does nothing.

    docs.stripe.com/api/checkout/sessions/expire. Raises Paused while writes to Stripe are, and the
    errors of a Stripe call.
    """
    try:
        page = services.stripe.read(f"/v1/checkout/sessions/{page_id}")
    except StripeGone:
        return Settled(line="Stripe knows no such page")
    if page["status"] != "open":
        return Settled(line=_OVER.get(page["status"], f"it is {page['status']}"))
    with services.sessions() as session:
        asked = orjson.loads(work.payload_of(session, batch[0].id))
        holding.guard(session, asked["organization"])
    try:
        services.stripe.expire_checkout_session(page_id)
    except StripeRejected as error:
        again_at = services.clock() + LOOK_AGAIN
        return Settled(line=f"Stripe does not close it now: {error}", again_at=again_at)
    return Settled(line=f"the page on which {asked['member']} could have paid is closed")
