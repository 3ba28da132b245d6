"""Resuming an adjustment says who made the change: "was it charged twice?" has an answer."""

import pytest

from reconcile.errors import OutcomeUnknown
from reconcile.operating.resuming import How, Resumed, resume
from reconcile.operating.story import of_adjustment
from reconcile.policy.values import Refuse
from tests.support.charging import UPDATE, updates
from tests.support.operating import KIM, lowered
from tests.support.shop import Shop


def left_open(shop: Shop, fault: str, **params: object) -> tuple[str, str]:
    """A subscription, and its adjustment that was sent into this fault."""
    sub = lowered(shop, voice=5)
    shop.sandbox.control("/faults", {"kind": fault, **UPDATE, **params})
    with pytest.raises(OutcomeUnknown):
        shop.settle(sub)
    (pending,) = shop.adjustments(sub)
    assert pending.state == "pending"
    return sub, pending.id


def resumed(shop: Shop, adjustment_id: str) -> Resumed:
    found = resume(shop.services, adjustment_id, KIM)
    assert isinstance(found, Resumed), found
    return found


@pytest.mark.parametrize(
    ("fault", "how"),
    [
        ("server_error_after", How.FOUND),
        ("server_error", How.SENT),
        ("timeout_before", How.SENT),
    ],
)
def test_it_says_whether_stripe_had_the_change_or_it_was_sent_now(
    shop: Shop, fault: str, how: How
) -> None:
    delay = {"delay_s": 0} if fault.startswith("timeout") else {}
    sub, adjustment_id = left_open(shop, fault, **delay)
    found = resumed(shop, adjustment_id)
    assert (found.how, found.adjustment.state) == (how, "applied")
    assert len(shop.invoices(sub, "subscription_update")) == 1
    told = of_adjustment(shop.services, adjustment_id)
    assert told is not None
    called = next(step.line for step in told.steps if step.what == "called Stripe")
    assert ("no answer came" in called) is (how is How.FOUND)
    assert resumed(shop, adjustment_id).how is How.ENDED_BEFORE


def test_an_answer_that_is_only_repeated_made_no_change_now(shop: Shop) -> None:
    """Somebody cleared the trace: the same call is sent again, and Stripe repeats its answer."""
    sub, adjustment_id = left_open(shop, "timeout_after", delay_s=0)
    shop.sandbox.post(f"/v1/subscriptions/{sub}", {"metadata[trueup_adjustment]": ""})
    assert resumed(shop, adjustment_id).how is How.FOUND
    assert [call["replayed"] for call in updates(shop, sub)] == [False, True]
    assert len(shop.invoices(sub, "subscription_update")) == 1


def test_while_stripe_turns_it_away_it_is_not_known(shop: Shop) -> None:
    _, adjustment_id = left_open(shop, "timeout_before", delay_s=0)
    shop.sandbox.control("/faults", {"kind": "rate_limit", **UPDATE})
    found = resumed(shop, adjustment_id)
    assert (found.how, found.adjustment.state) == (How.UNKNOWN, "pending")


def test_what_is_decided_anew_beside_it_is_named(shop: Shop) -> None:
    """Its change would do no good any more; the look at the subscription makes another one."""
    sub, adjustment_id = left_open(shop, "timeout_before", delay_s=0)
    shop.edit(sub, "voice", 3)
    found = resumed(shop, adjustment_id)
    assert (found.how, found.adjustment.state) == (How.GIVEN_UP, "failed")
    assert [each.state for each in found.anew] == ["applied"]
    assert adjustment_id not in {each.id for each in found.anew}


def test_what_is_not_there_is_refused(shop: Shop) -> None:
    assert isinstance(resume(shop.services, "adj_none", KIM), Refuse)
