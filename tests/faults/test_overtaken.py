"""An intent on record, and before it is carried out the world moves on: a new period, a person.

What was decided then may be wrong now: it is given up, decided anew or known to have been applied,
and never undoes what somebody did meanwhile.
"""

import time
from contextlib import suppress

import pytest
import requests

from reconcile.errors import OutcomeUnknown
from tests.support.charging import UPDATE, killed_at, sent_by_an_earlier_release, started
from tests.support.shop import Shop


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
    # Long enough for a busy machine to get as far as the second look meanwhile.
    shop.sandbox.control("/faults", {"kind": "slow", "delay_s": 12.0, **UPDATE})
    process = started(shop, short)
    said, errors = process.communicate(timeout=60)
    assert said.strip().endswith("OutcomeUnknown"), errors
    shop.edit(short, "voice", 4, proration_behavior="none")
    with pytest.raises(OutcomeUnknown):
        shop.settle(short)
    assert [a.state for a in shop.adjustments(short)] == ["pending"]
    until = time.monotonic() + 60
    while shop.adjustments(short)[0].state == "pending":
        assert time.monotonic() < until
        time.sleep(0.5)
        with suppress(OutcomeUnknown):
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
