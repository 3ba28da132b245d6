"""Stripe's list of subscriptions, page by page, the next one fetched while one is worked on."""

from collections.abc import Iterator
from functools import partial

from reconcile.nights.patience import patiently
from reconcile.nights.threads import started
from reconcile.services import Services
from reconcile.stripe_api import Page

# Without a page there is no night.
PAGE_TRIES = 6


def subscription_pages(services: Services, after: str | None) -> Iterator[Page]:
    """Yield the pages behind the subscription `after`; None: from the first one on.

    Raises the errors of a Stripe call.
    """
    coming = started(partial(_page, services, after))
    while True:
        page = coming.result()
        if page.has_more:
            assert page.last_id != after, "Stripe's list does not move on"
            after = page.last_id
            coming = started(partial(_page, services, after))
        if page.raw:
            yield page
        if not page.has_more:
            return


def _page(services: Services, after: str | None) -> Page:
    return patiently(
        services.settings, lambda: services.stripe.subscriptions_page(after), PAGE_TRIES
    )
