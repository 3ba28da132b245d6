"""A raise and its charge happen exactly once, whatever is killed, retried, lost or forgotten.

The proof is Stripe's side: the invoices there are, and the log of the calls it got. Processes are
real ones, killed with SIGKILL at named places.
"""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from typing import Any

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
from tests.support.services import environment
from tests.support.shop import Shop

UPDATE = {"method": "POST", "path": "/v1/subscriptions/*"}


@pytest.fixture
def short(shop: Shop) -> str:
    """A subscription with two Voice seats fewer than active members."""
    customer = shop.organization(base=2, voice=5)
    sub = shop.subscribe(customer, {"base": 2, "voice": 5})
    shop.settle(sub)
    shop.edit(sub, "voice", 3)
    return sub


def started(shop: Shop, sub: str, crash_point: str = "") -> subprocess.Popen[str]:
    """A process that settles the subscription, to be killed at a place if one is named."""
    env = os.environ | environment(shop.services.settings)
    env |= {"TRUEUP_CRASH_POINT": crash_point, "TRUEUP_STRIPE_TIMEOUT_S": "2"}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.settle_process", sub],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def killed_at(shop: Shop, sub: str, crash_point: str) -> None:
    """Settle it in a process that dies by SIGKILL at the place."""
    process = started(shop, sub, crash_point)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors


def updates(shop: Shop, sub: str) -> list[dict[str, Any]]:
    """Every update of ours that Stripe was sent."""
    calls = shop.sandbox.observe("/calls")["calls"]
    return [
        call
        for call in calls
        if (call["method"], call["path"]) == ("POST", f"/v1/subscriptions/{sub}")
        and (call["idempotency_key"] or "").startswith("trueup-")
    ]


def assert_charged_exactly_once(shop: Shop, sub: str) -> None:
    """One invoice in Stripe, of the one applied adjustment, in the ledger to the minor unit."""
    assert shop.quantities(sub)["voice"] == 5
    (invoice,) = shop.invoices(sub, "subscription_update")
    (applied,) = [a for a in shop.adjustments(sub) if a.state == "applied"]
    assert applied.invoice_id == invoice["id"]
    assert applied.total_minor == invoice["total"]
    assert applied.checked_at is not None
    with shop.services.sessions() as session:
        ledger = adjustments.ledger_of(session, applied.id)
    assert sorted(line.amount_minor for line in ledger) == sorted(
        line["amount"] for line in invoice["lines"]["data"]
    )
    assert len([u for u in updates(shop, sub) if u["status"] == 200 and not u["replayed"]]) == 1
    assert shop.seats(sub)["voice"].quantity == 5
    assert shop.findings(sub) == set()


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


def test_an_intent_that_outlived_its_billing_period_is_decided_anew(shop: Shop) -> None:
    clock = str(
        shop.sandbox.post("/v1/test_helpers/test_clocks", {"frozen_time": 1_790_000_000})["id"]
    )
    customer = shop.organization(plan="team", member=3, test_clock=clock)
    sub = shop.subscribe(customer, {"member": 3}, plan="team")
    shop.settle(sub)
    shop.activate("org_1", "member", 5)
    killed_at(shop, sub, "after_intent")
    shop.sandbox.post(
        f"/v1/test_helpers/test_clocks/{clock}/advance", {"frozen_time": 1_790_000_000 + 32 * 86400}
    )
    shop.settle(sub)
    assert [a.state for a in shop.adjustments(sub)] == ["failed", "applied"]
    assert shop.quantities(sub) == {"member": 5}
    assert len(shop.invoices(sub, "subscription_update")) == 1
    assert shop.findings(sub) == set()


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


def sent_by_an_earlier_release(shop: Shop, sub: str) -> None:
    """The pending adjustment, sent under its own key with other parameters than today's."""
    (pending,) = shop.adjustments(sub)
    (raised,) = pending.changes
    form = {
        "items[0][id]": raised.item_id,
        "items[0][quantity]": raised.to_quantity,
        "proration_behavior": "always_invoice",
        "metadata[trueup_adjustment]": pending.id,
    }
    headers = {"Idempotency-Key": pending.idempotency_key}
    shop.sandbox._answer("POST", f"/v1/subscriptions/{sub}", data=form, headers=headers)


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


def test_a_quantity_that_a_person_set_meanwhile_is_not_undone_by_an_old_intent(
    shop: Shop, short: str
) -> None:
    killed_at(shop, short, "after_intent")
    shop.edit(short, "voice", 10)
    shop.activate("org_1", "voice", 8)
    shop.settle(short)
    assert shop.quantities(short)["voice"] == 10
    assert [a.state for a in shop.adjustments(short)] == ["failed"]
    assert shop.invoices(short, "subscription_update") == []


def test_a_free_lowering_that_missed_its_renewal_is_credited_instead(shop: Shop) -> None:
    """Sent again in the new period, it would take seats away that were just paid for."""
    clock = str(
        shop.sandbox.post("/v1/test_helpers/test_clocks", {"frozen_time": 1_790_000_000})["id"]
    )
    customer = shop.organization(plan="team", member=5, test_clock=clock)
    sub = shop.subscribe(customer, {"member": 5}, plan="team")
    shop.settle(sub)
    shop.activate("org_1", "member", 3)
    shop.settle(sub)
    (item,) = shop.sandbox.get(f"/v1/subscriptions/{sub}")["items"]["data"]
    advance = f"/v1/test_helpers/test_clocks/{clock}/advance"
    shop.sandbox.post(advance, {"frozen_time": item["current_period_end"] - 1800})
    killed_at(shop, sub, "after_intent")
    shop.sandbox.post(advance, {"frozen_time": item["current_period_end"] + 7200})
    shop.settle(sub)
    assert shop.quantities(sub) == {"member": 3}
    assert [(a.state, a.proration_behavior) for a in shop.adjustments(sub)] == [
        ("failed", "none"),
        ("applied", "always_invoice"),
    ]
    (credited,) = shop.invoices(sub, "subscription_update")
    unit = item["price"]["unit_amount"]
    assert credited["total"] == -2 * unit


def test_what_a_person_did_first_is_not_recorded_as_our_charge(shop: Shop, short: str) -> None:
    """Our update then changes nothing: no invoice is made, and none of earlier is taken for it."""
    killed_at(shop, short, "after_intent")
    shop.edit(short, "voice", 5, proration_behavior="none")
    shop.settle(short)
    (applied,) = shop.adjustments(short)
    assert (applied.state, applied.invoice_id, applied.total_minor) == ("applied", None, None)
    assert shop.invoices(short, "subscription_update") == []


def test_a_call_that_stripe_is_still_at_work_on_is_not_given_up(shop: Shop, short: str) -> None:
    """It was too slow for us, and a person set another quantity: it may still take effect."""
    shop.sandbox.control("/faults", {"kind": "slow", "delay_s": 4.0, **UPDATE})
    process = started(shop, short)
    said, errors = process.communicate(timeout=60)
    assert said.strip().endswith("OutcomeUnknown"), errors
    shop.edit(short, "voice", 4, proration_behavior="none")
    with pytest.raises(OutcomeUnknown):
        shop.settle(short)
    assert [a.state for a in shop.adjustments(short)] == ["pending"]
    time.sleep(3)
    shop.settle(short)
    (applied,) = shop.adjustments(short)
    (invoice,) = shop.invoices(short, "subscription_update")
    assert (applied.state, applied.invoice_id) == ("applied", invoice["id"])
    assert shop.quantities(short)["voice"] == 5


def test_a_call_that_arrives_after_it_was_given_up_changes_nothing(shop: Shop, short: str) -> None:
    killed_at(shop, short, "after_intent")
    shop.edit(short, "voice", 10)
    shop.settle(short)
    with pytest.raises(requests.HTTPError, match="400"):
        sent_by_an_earlier_release(shop, short)
    assert shop.quantities(short)["voice"] == 10


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


def test_killed_when_the_key_of_an_overtaken_call_is_spent(shop: Shop, short: str) -> None:
    killed_at(shop, short, "after_intent")
    shop.edit(short, "voice", 4)
    killed_at(shop, short, "after_cut_off")
    assert [a.state for a in shop.adjustments(short)] == ["pending"]
    shop.settle(short)
    assert [a.state for a in shop.adjustments(short)] == ["failed", "applied"]
    assert shop.quantities(short)["voice"] == 5
    assert len(shop.invoices(short, "subscription_update")) == 1


def test_the_key_is_spent_and_then_the_old_quantity_is_back(shop: Shop, short: str) -> None:
    """What was overtaken is wanted again: it goes out under a key that is not spent."""
    killed_at(shop, short, "after_intent")
    shop.edit(short, "voice", 4)
    killed_at(shop, short, "after_cut_off")
    shop.edit(short, "voice", 3)
    shop.settle(short)
    assert [(a.state, a.attempt) for a in shop.adjustments(short)] == [("applied", 2)]
    assert shop.quantities(short)["voice"] == 5
    assert len(shop.invoices(short, "subscription_update")) == 1
