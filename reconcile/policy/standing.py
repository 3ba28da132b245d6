"""What a subscription's status and flags allow, derived in one place for every decision."""

from reconcile.policy.values import Standing

_DEAD = frozenset({"canceled", "unpaid", "incomplete", "incomplete_expired", "paused"})


def standing_of(
    status: str, *, collection_paused: bool = False, canceling: bool = False
) -> Standing:
    """Return the standing of a subscription with Stripe's `status` and flags.

    `canceling` is `cancel_at_period_end`, or a `cancel_at` within the period. An unknown status
    counts as dead: nothing may be written on a guess (the statuses are those of
    docs.stripe.com/api/subscriptions/object).
    """
    if status in _DEAD or status not in {"active", "trialing", "past_due"}:
        return Standing.DEAD
    flags = Standing(0)
    if status == "trialing":
        flags |= Standing.TRIALING
    if status == "past_due":
        flags |= Standing.PAST_DUE
    if collection_paused:
        flags |= Standing.PAUSED_COLLECTION
    if canceling:
        flags |= Standing.CANCELING
    return flags or Standing.LIVE


def is_paid(standing: Standing) -> bool:
    """Return whether a seat of this standing is a live paid one (own_seat, A2 and A4)."""
    return not standing & (Standing.DEAD | Standing.PAST_DUE)
