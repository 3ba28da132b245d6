"""Stripe's list of subscriptions, page by page, the next one fetched while one is worked on."""

from collections.abc import Callable, Iterator
from functools import partial

from reconcile.nights.patience import patiently
from reconcile.nights.threads import threads
from reconcile.services import Services
from reconcile.stripe_api import Page
from reconcile.stripe_shapes import StripeSubscription, UnreadableShape, parse_subscription

# Without a page there is no night.
PAGE_TRIES = 6


def subscription_pages(services: Services, after: str | None) -> Iterator[Page]:
    """Yield the pages behind the subscription `after`; None: from the first one on.

    Raises the errors of a Stripe call.
    """
    with threads(1) as ahead:
        coming = ahead.start(partial(_page, services, after))
        while True:
            page = coming.result()
            if page.has_more:
                assert page.last_id != after, "Stripe's list does not move on"
                after = page.last_id
                coming = ahead.start(partial(_page, services, after))
            if page.raw:
                yield page
            if not page.has_more:
                return


def readable(page: Page, unread: Callable[[UnreadableShape], None]) -> Iterator[StripeSubscription]:
    """Yield what can be read of the page, and hand over why another cannot.

    That one is none in the list then: where it is known, it is looked at by itself.
    """
    for raw in page.raw:
        try:
            found = parse_subscription(raw, fetched_at=page.at)
        except UnreadableShape as error:
            unread(error)
        else:
            yield found


def _page(services: Services, after: str | None) -> Page:
    return patiently(
        services.settings, lambda: services.stripe.subscriptions_page(after), PAGE_TRIES
    )
