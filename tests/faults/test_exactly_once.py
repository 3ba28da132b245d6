"""A raise and its charge happen exactly once, whatever is killed, retried, lost or forgotten.

The proof is Stripe's side: the invoices there are, and the log of the calls it got. Processes are
real ones, killed with SIGKILL at named places.
"""

from datetime import timedelta

import pytest
import requests

from reconcile.adjustments.adjusting import (
    MOST_ATTEMPTS,
    AdjustmentInFlight,
    carry_out,
    intend,
)
from reconcile.errors import OutcomeUnknown, StripeKeyRefused, StripeRateLimited
from reconcile.store import adjustments
from tests.support.charging import (
    UPDATE,
    assert_charged_exactly_once,
    killed_at,
    sent_by_an_earlier_release,
    started,
    updates,
)
from tests.support.shop import Shop


@pytest.mark.parametrize(
    ("crash_point", "sent_before"),
    [("after_facts", 0), ("after_intent", 0), ("after_call", 1), ("after_outcome", 1)],
)
def test_a_worker_killed_in_the_middle(
    shop: Shop, short: str, crash_point: str, sent_before: int
) -> None:
    """money.once."""
    killed_at(shop, short, crash_point)
    assert len(updates(shop, short)) == sent_before
    shop.settle(short)
    assert_charged_exactly_once(shop, short)
    assert len(updates(shop, short)) == 1
    assert len(shop.adjustments(short)) == 1


def test_a_day_later_the_trace_tells_that_it_was_applied(shop: Shop, short: str) -> None:
    """money.once."""
    killed_at(shop, short, "after_call")
    assert shop.sandbox.control("/idempotency/forget")["forgotten"] >= 1
    shop.at(shop.services.clock() + timedelta(hours=25)).settle(short)
    assert_charged_exactly_once(shop, short)
    assert len(updates(shop, short)) == 1


def test_a_day_later_what_left_no_trace_never_happened_and_is_decided_anew(
    shop: Shop, short: str
) -> None:
    killed_at(shop, short, "after_intent")
    shop.sandbox.control("/idempotency/forget")
    shop.at(shop.services.clock() + timedelta(hours=25)).settle(short)
    assert [a.state for a in shop.adjustments(short)] == ["failed", "applied"]
    assert_charged_exactly_once(shop, short)


def test_a_day_later_the_invoice_tells_where_somebody_cleared_the_metadata(
    shop: Shop, short: str
) -> None:
    killed_at(shop, short, "after_call")
    shop.sandbox.control("/idempotency/forget")
    shop.sandbox.post(f"/v1/subscriptions/{short}", {"metadata[trueup_adjustment]": ""})
    shop.at(shop.services.clock() + timedelta(hours=25)).settle(short)
    assert_charged_exactly_once(shop, short)
    assert len(shop.adjustments(short)) == 1


def test_a_stored_server_error_without_a_trace_is_a_definite_failure(
    shop: Shop, short: str
) -> None:
    shop.sandbox.control("/faults", {"kind": "server_error", **UPDATE})
    with pytest.raises(OutcomeUnknown):
        shop.settle(short)
    (pending,) = shop.adjustments(short)
    assert (pending.state, pending.attempt) == ("pending", 1)
    shop.settle(short)
    sent = updates(shop, short)
    assert [(call["status"], call["replayed"]) for call in sent] == [
        (500, False),
        (500, True),
        (200, False),
    ]
    assert len({call["idempotency_key"] for call in sent}) == 2
    assert [a.attempt for a in shop.adjustments(short)] == [2]
    assert_charged_exactly_once(shop, short)


def test_a_key_of_other_parameters_without_a_trace_is_followed_by_the_next_one(
    shop: Shop, short: str
) -> None:
    killed_at(shop, short, "after_intent")
    shop.sandbox.control("/faults", {"kind": "server_error", **UPDATE})
    with pytest.raises(requests.HTTPError, match="500"):
        sent_by_an_earlier_release(shop, short)
    shop.settle(short)
    assert [call["status"] for call in updates(shop, short)] == [500, 400, 200]
    assert [(a.state, a.attempt) for a in shop.adjustments(short)] == [("applied", 2)]
    assert_charged_exactly_once(shop, short)


def test_a_key_of_other_parameters_that_left_a_trace_was_applied(shop: Shop, short: str) -> None:
    killed_at(shop, short, "after_intent")
    (pending,) = shop.adjustments(short)
    sent_by_an_earlier_release(shop, short)
    # Of whoever looked for the trace just before it was there.
    assert carry_out(shop.services, pending).adjustment.state == "applied"
    assert [call["status"] for call in updates(shop, short)] == [200, 400]
    shop.settle(short)
    assert_charged_exactly_once(shop, short)


def test_a_server_that_keeps_failing_is_given_up_told_and_taken_up_again(
    shop: Shop, short: str
) -> None:
    shop.sandbox.control("/faults", {"kind": "server_error", "times": None, **UPDATE})
    for _ in range(MOST_ATTEMPTS + 1):
        with pytest.raises(OutcomeUnknown):
            shop.settle(short)
    given_up = shop.adjustments(short)[0]
    assert (given_up.state, given_up.attempt) == ("failed", MOST_ATTEMPTS)
    assert "adjustment_stuck" in shop.findings(short)
    shop.sandbox._answer("DELETE", "/_sandbox/faults")
    shop.settle(short)
    assert_charged_exactly_once(shop, short)


def test_a_server_error_after_it_was_applied(shop: Shop, short: str) -> None:
    shop.sandbox.control("/faults", {"kind": "server_error_after", **UPDATE})
    with pytest.raises(OutcomeUnknown):
        shop.settle(short)
    shop.settle(short)
    assert len(updates(shop, short)) == 1
    (applied,) = shop.adjustments(short)
    assert applied.state == "applied"
    (invoice,) = shop.invoices(short, "subscription_update")
    assert applied.invoice_id == invoice["id"]


@pytest.mark.parametrize("kind", ["timeout_before", "timeout_after"])
def test_a_time_out_leaves_it_open_until_stripe_was_asked(
    shop: Shop, short: str, kind: str
) -> None:
    shop.sandbox.control("/faults", {"kind": kind, **UPDATE})
    with pytest.raises(OutcomeUnknown):
        shop.settle(short)
    assert [a.state for a in shop.adjustments(short)] == ["pending"]
    shop.settle(short)
    assert [(a.state, a.attempt) for a in shop.adjustments(short)] == [("applied", 1)]
    (invoice,) = shop.invoices(short, "subscription_update")
    assert shop.adjustments(short)[0].invoice_id == invoice["id"]
    assert len({call["idempotency_key"] for call in updates(shop, short)}) == 1


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("rate_limit", StripeRateLimited),
        ("lock_timeout", StripeRateLimited),
        ("permission", StripeKeyRefused),
    ],
)
def test_turned_away_it_is_sent_again_under_the_same_key(
    shop: Shop, short: str, kind: str, expected: type[Exception]
) -> None:
    shop.sandbox.control("/faults", {"kind": kind, **UPDATE})
    with pytest.raises(expected):
        shop.settle(short)
    shop.settle(short)
    assert_charged_exactly_once(shop, short)
    assert len({call["idempotency_key"] for call in updates(shop, short)}) == 1


def test_two_processes_at_once_on_one_subscription(shop: Shop, short: str) -> None:
    processes = [started(shop, short) for _ in range(4)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert_charged_exactly_once(shop, short)
    assert len(updates(shop, short)) == 1


def test_two_who_get_past_the_lock_meet_at_the_record(shop: Shop, short: str) -> None:
    """Were the lock ever lost (a connection pooler, a failover), the database still says one."""
    killed_at(shop, short, "after_intent")
    with pytest.raises(AdjustmentInFlight):
        _intend_again(shop, short)
    assert len(shop.adjustments(short)) == 1


def _intend_again(shop: Shop, sub: str) -> None:
    (pending,) = shop.adjustments(sub)
    intent = adjustments.Intent(
        subscription_id=sub,
        organization_id="org_1",
        kind="quantities",
        trigger="test",
        reason="again",
        changes=pending.changes,
        proration_behavior=pending.proration_behavior,
    )
    with shop.services.sessions.begin() as session:
        intend(session, shop.services, intent)


def test_killed_between_two_attempts(shop: Shop, short: str) -> None:
    """The second attempt is on record with a key of its own, which Stripe has not seen."""
    shop.sandbox.control("/faults", {"kind": "server_error", **UPDATE})
    with pytest.raises(OutcomeUnknown):
        shop.settle(short)
    killed_at(shop, short, "after_attempt")
    assert [(a.state, a.attempt) for a in shop.adjustments(short)] == [("pending", 2)]
    shop.settle(short)
    assert [a.attempt for a in shop.adjustments(short)] == [2]
    assert_charged_exactly_once(shop, short)
