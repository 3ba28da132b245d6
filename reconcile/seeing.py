"""Whether to believe what an event carries or to ask Stripe (Law 4)."""

from dataclasses import dataclass
from datetime import datetime

import orjson

from reconcile.facts import Seen
from reconcile.policy import freshness
from reconcile.policy.freshness import Freshness
from reconcile.services import Services
from reconcile.settings import STRIPE_API_VERSION
from reconcile.store import subscriptions
from reconcile.store.subscriptions import Held
from reconcile.stripe_shapes import StripeSubscription, UnreadableShape, parse_subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The subscription an event carries, with what decides whether it may be believed."""

    subscription: StripeSubscription
    created: datetime
    api_version: str | None


def snapshot_of(body: bytes, api_version: str | None, created: datetime | None) -> Snapshot | None:
    """Return the subscription that a stored event carries; None when it carries no readable one."""
    try:
        carried = orjson.loads(body)["data"]["object"]
        if created is None or carried["object"] != "subscription":
            return None
        subscription = parse_subscription(carried)
    except (orjson.JSONDecodeError, KeyError, TypeError, UnreadableShape):
        return None
    if not subscription.items_complete:
        return None
    return Snapshot(subscription=subscription, created=created, api_version=api_version)


def see(
    services: Services, subscription_id: str, held: Held | None, snapshot: Snapshot | None
) -> Seen:
    """Return the snapshot where it may be believed, else what Stripe says now."""
    # Events of a test clock carry its time, fetches the real one: the two cannot be compared.
    if snapshot is None or snapshot.subscription.test_clock_id is not None:
        return fetched(services, subscription_id)
    verdict = freshness.judge(
        freshness.Held(as_of=held.as_of, deleted=held.deleted_at is not None) if held else None,
        freshness.Snapshot(
            created=snapshot.created,
            api_version=snapshot.api_version,
            deleted=snapshot.subscription.status in subscriptions.ENDED,
        ),
        api_version=STRIPE_API_VERSION,
    )
    if verdict not in (Freshness.BELIEVE, Freshness.TOMBSTONE):
        return fetched(services, subscription_id)
    return Seen(
        subscription=snapshot.subscription,
        as_of=snapshot.created,
        api_version=snapshot.api_version,
        fetched=False,
    )


def fetched(services: Services, subscription_id: str) -> Seen:
    """Return what Stripe says now. Raises StripeGone."""
    return answered(services, services.stripe.subscription(subscription_id))


def answered(services: Services, subscription: StripeSubscription) -> Seen:
    """Return a subscription that Stripe answered with just now."""
    return Seen(
        subscription=subscription,
        as_of=subscription.fetched_at or services.clock(),
        api_version=STRIPE_API_VERSION,
        fetched=True,
    )
