"""Approved changes of a contract, on a test clock: made in their hour, or made good (A6)."""

import pytest

from reconcile.adjustments import seat_change
from reconcile.adjustments.seat_change import Preview
from reconcile.policy.values import SeatPolicy
from reconcile.settling.work import Ended, work_off
from tests.support.approving import (
    EVE,
    agree,
    agreed,
    approve,
    begun,
    begun_with_two_kinds,
    waiting,
    wanted,
    withdrawn,
)
from tests.support.renewing import (
    HOUR_S,
    START,
    advance,
    cycle,
    in_its_hour,
    period_end,
    told_of_something,
)
from tests.support.shop import Shop


@pytest.mark.parametrize("missed", [False, True])
def test_a_change_of_a_monthly_contract_starts_with_the_next_cycle(
    monthly: Shop, clock: str, missed: bool
) -> None:
    shop, sub = monthly, begun(monthly, clock)
    assert approve(shop, pro=8).at_renewal is not None
    shop.settle(sub)
    assert shop.quantities(sub) == {"pro": 6}
    end = period_end(shop, sub)
    if not missed:
        advance(shop, clock, end - HOUR_S // 2)
        shop.settle(sub)
        advance(shop, clock, end + 2 * HOUR_S)
        assert cycle(shop, sub)[0]["total"] == 8 * 12900
    else:
        advance(shop, clock, end + 30 * HOUR_S)
        shop.settle(sub)
        assert cycle(shop, sub)[0]["total"] == 6 * 12900
        assert shop.invoices(sub, "subscription_update")[0]["total"] == 2 * 12900
    assert shop.quantities(sub) == {"pro": 8}
    assert shop.findings(sub) == set()
    assert waiting(shop) is None, "it is in force, though its request is not worked off"
    shop.settle(sub)
    assert shop.writes(sub) == 1


def test_an_event_right_before_the_last_hour_leaves_it_for_its_hour(
    monthly: Shop, clock: str
) -> None:
    shop, sub = monthly, begun(monthly, clock)
    end = period_end(shop, sub)
    advance(shop, clock, end - HOUR_S - 10)
    approve(shop, pro=8)
    assert told_of_something(shop, sub).ended == Ended.DONE
    advance(shop, clock, end - HOUR_S // 2)
    assert in_its_hour(shop, sub).ended == Ended.DONE
    assert shop.quantities(sub) == {"pro": 8}


def test_it_outlasts_what_holds_it_back(monthly: Shop, clock: str) -> None:
    shop, sub = monthly, begun(monthly, clock)
    approve(shop, pro=8)
    shop.sandbox.post(f"/v1/subscriptions/{sub}", {"pause_collection[behavior]": "void"})
    advance(shop, clock, period_end(shop, sub) - HOUR_S // 2)
    held = shop.settle(sub)
    assert "collection is paused" in held.line
    assert held.again_at is not None, "its row would be done, and the approval forgotten"
    shop.sandbox.post(f"/v1/subscriptions/{sub}", {"pause_collection": ""})
    made = shop.settle(sub)
    assert made.again_at is None
    assert shop.quantities(sub) == {"pro": 8}


def test_it_is_not_written_against_a_schedule_that_came_later(monthly: Shop, clock: str) -> None:
    """any.schedule: one finding names the seats for as long as the schedule drives it."""
    shop, sub = monthly, begun(monthly, clock)
    approve(shop, pro=8)
    made = shop.sandbox.post("/v1/subscription_schedules", {"from_subscription": sub})
    advance(shop, clock, period_end(shop, sub) - HOUR_S // 2)
    first, then = shop.settle(sub), shop.settle(sub)
    assert shop.writes(sub) == 0
    assert first.again_at is not None, "its row would be done, and the approval forgotten"
    assert shop.findings(sub) == {"schedule_blocks_change"}
    assert [(each.opened, each.closed) for each in (first, then)] == [(1, 0), (0, 0)]
    shop.sandbox.post(f"/v1/subscription_schedules/{made['id']}/release", {})
    shop.settle(sub)
    assert shop.quantities(sub) == {"pro": 8}
    assert shop.findings(sub) == set()


def test_that_its_payment_was_declined_stays_told_while_it_waits(monthly: Shop, clock: str) -> None:
    """The contract itself is in order: what the row says, and not what is to be done."""
    shop, sub = monthly, begun(monthly, clock)
    approve(shop, pro=8)
    advance(shop, clock, period_end(shop, sub) + 2 * HOUR_S)
    customer = shop.sandbox.get(f"/v1/subscriptions/{sub}")["customer"]
    shop.sandbox.control("/declines", {"customer": customer, "code": "insufficient_funds"})
    for _ in range(2):
        assert shop.settle(sub).again_at is not None
        assert shop.findings(sub) == {"payment_declined"}
    shop.sandbox.control("/declines", {"customer": customer, "code": None})
    shop.settle(sub, retry_declined=True)
    assert shop.quantities(sub) == {"pro": 8}
    assert shop.findings(sub) == set()


@pytest.mark.parametrize("taken_back", [False, True])
def test_that_its_payment_was_declined_stays_told_while_an_invoice_is_past_due(
    monthly: Shop, clock: str, taken_back: bool
) -> None:
    """The contract wants nothing, says the row; what was approved is owed all the same."""
    shop, sub = monthly, begun(monthly, clock)
    approve(shop, pro=8)
    advance(shop, clock, period_end(shop, sub) + 2 * HOUR_S)
    customer = shop.sandbox.get(f"/v1/subscriptions/{sub}")["customer"]
    shop.sandbox.control("/declines", {"customer": customer, "code": "insufficient_funds"})
    shop.settle(sub)
    advance(shop, clock, period_end(shop, sub) + 2 * HOUR_S)
    assert shop.sandbox.get(f"/v1/subscriptions/{sub}")["status"] == "past_due"
    for _ in range(2):
        shop.settle(sub)
        assert shop.findings(sub) == {"payment_declined"}
    if taken_back:
        withdrawn(shop)
        work_off(shop.services, "org:org_1")
    else:
        shop.edit(sub, "pro", 8)
        shop.settle(sub)
    assert shop.findings(sub) == set()


@pytest.mark.parametrize("missed", [False, True])
def test_what_somebody_set_in_stripe_before_its_hour_is_agreed_from_then_on(
    monthly: Shop, clock: str, missed: bool
) -> None:
    """It is billed early, and the drift says so; once its hour is here, nothing differs."""
    shop, sub = monthly, begun(monthly, clock)
    agree(shop, pro=6)
    approve(shop, pro=8)
    shop.edit(sub, "pro", 8)
    shop.settle(sub)
    assert shop.findings(sub) == {"contract_drift"}
    assert agreed(shop) == [{"pro": 6}]
    hours = 2 if missed else -0.5
    advance(shop, clock, int(period_end(shop, sub) + hours * HOUR_S))
    told = in_its_hour(shop, sub)
    assert "Stripe has it already" in told.line
    assert shop.findings(sub) == set()
    assert agreed(shop) == [{"pro": 6}, {"pro": 8}]
    assert waiting(shop) is None
    shop.settle(sub)
    assert len(agreed(shop)) == 2
    assert shop.writes(sub) == 0


def test_what_is_in_force_leaves_what_was_approved_after_it(monthly: Shop, clock: str) -> None:
    """Nobody looked at the renewal; the next change waits for its own."""
    shop, sub = monthly, begun(monthly, clock)
    agree(shop, pro=6)
    approve(shop, pro=8)
    advance(shop, clock, period_end(shop, sub) + 2 * HOUR_S)
    shop.edit(sub, "pro", 8)
    approve(shop, pro=9)
    shop.settle(sub)
    assert agreed(shop)[-1] == {"pro": 8}
    advance(shop, clock, period_end(shop, sub) - HOUR_S // 2)
    in_its_hour(shop, sub)
    assert agreed(shop) == [{"pro": 6}, {"pro": 8}, {"pro": 9}]
    assert shop.quantities(sub) == {"pro": 9}


def test_what_is_in_force_overtakes_what_was_approved_before_it(monthly: Shop, clock: str) -> None:
    """Made good later, the older one would take paid seats away."""
    shop, sub = monthly, begun(monthly, clock)
    agree(shop, pro=6)
    approve(shop, pro=7)
    advance(shop, clock, period_end(shop, sub) + 2 * HOUR_S)
    customer = shop.sandbox.get(f"/v1/subscriptions/{sub}")["customer"]
    shop.sandbox.control("/declines", {"customer": customer, "code": "insufficient_funds"})
    shop.settle(sub)
    approve(shop, pro=8)
    shop.edit(sub, "pro", 8)
    advance(shop, clock, period_end(shop, sub) - HOUR_S // 2)
    assert in_its_hour(shop, sub).ended == Ended.DONE
    shop.sandbox.control("/declines", {"customer": customer, "code": None})
    shop.settle(sub, retry_declined=True)
    assert shop.quantities(sub) == {"pro": 8}
    assert agreed(shop) == [{"pro": 6}, {"pro": 8}]
    assert shop.findings(sub) == set()


def test_what_is_in_stripe_already_is_agreed_and_the_rest_is_changed(
    two_kinds: Shop, clock: str
) -> None:
    shop = two_kinds
    _, sub = begun_with_two_kinds(shop, clock)
    approve(shop, base=7, voice=4)
    shop.edit(sub, "voice", 4)
    advance(shop, clock, period_end(shop, sub) - HOUR_S // 2)
    assert in_its_hour(shop, sub).ended == Ended.DONE
    assert shop.quantities(sub) == {"base": 7, "voice": 4}
    assert agreed(shop)[-1] == {"base": 7, "voice": 4}
    assert shop.findings(sub) == set()
    assert shop.writes(sub) == 1


def bought_to_be_fewer(shop: Shop, clock: str) -> tuple[Shop, str, str]:
    """A contract that lets seats go, over Base and, in nobody's use, Voice seats."""
    shop = shop.with_plan("agency", contract_removals=True)
    customer = shop.organization(base=3, test_clock=clock)
    sub = shop.subscribe(customer, {"base": 5, "voice": 2})
    shop.settle(sub)
    return shop, customer, sub


@pytest.mark.parametrize("hours", [-0.5, 2])
def test_none_is_what_an_item_that_somebody_took_out_has(
    two_kinds: Shop, clock: str, hours: float
) -> None:
    """It was missed for ever: what was approved is that there is none."""
    shop, _, sub = bought_to_be_fewer(two_kinds, clock)
    approve(shop, voice=0)
    shop.take_out(sub, "voice")
    shop.settle(sub)
    assert shop.findings(sub) == {"item_missing"}, "before its hour, two are bought"
    advance(shop, clock, int(period_end(shop, sub) + hours * HOUR_S))
    assert in_its_hour(shop, sub).ended == Ended.DONE
    assert shop.findings(sub) == set()
    assert shop.seats(sub)["voice"].quantity == 0
    assert waiting(shop) is None


def test_none_is_in_force_though_another_change_is_declined(two_kinds: Shop, clock: str) -> None:
    shop, customer, sub = bought_to_be_fewer(two_kinds, clock)
    approve(shop, base=7)
    advance(shop, clock, period_end(shop, sub) + 2 * HOUR_S)
    shop.sandbox.control("/declines", {"customer": customer, "code": "insufficient_funds"})
    shop.settle(sub)
    approve(shop, voice=0)
    shop.take_out(sub, "voice")
    shop.sandbox.control("/declines", {"customer": customer, "code": None})
    advance(shop, clock, period_end(shop, sub) + 2 * HOUR_S)
    in_its_hour(shop, sub)
    assert shop.findings(sub) == {"payment_declined"}
    assert shop.seats(sub)["voice"].quantity == 0
    shop.settle(sub, retry_declined=True)
    assert shop.quantities(sub) == {"base": 7}
    assert shop.findings(sub) == set()


def test_seats_of_a_kind_that_is_not_on_the_subscription_yet_are_added(
    two_kinds: Shop, clock: str
) -> None:
    shop = two_kinds
    customer = shop.organization(base=3, test_clock=clock)
    sub = shop.subscribe(customer, {"base": 5})
    shop.settle(sub)
    agree(shop, base=5)
    approve(shop, voice=3)
    advance(shop, clock, period_end(shop, sub) - HOUR_S // 2)
    assert in_its_hour(shop, sub).ended == Ended.DONE
    assert shop.quantities(sub) == {"base": 5, "voice": 3}
    assert agreed(shop)[-1] == {"base": 5, "voice": 3}
    assert shop.findings(sub) == set()


def test_a_kind_that_is_agreed_and_that_stripe_never_had_is_a_drift(
    two_kinds: Shop, clock: str
) -> None:
    """Compared with nothing, nobody was billed for it, and nobody heard of it."""
    shop = two_kinds
    sub = shop.subscribe(shop.organization(base=3, test_clock=clock), {"base": 5})
    shop.settle(sub)
    agree(shop, base=5, voice=3)
    shop.settle(sub)
    assert shop.findings(sub) == {"contract_drift"}
    assert shop.writes(sub) == 0
    agree(shop, base=5)
    shop.settle(sub)
    assert shop.findings(sub) == set(), "the account manager records what is right"
    agree(shop, base=5, voice=3)
    approve(shop, voice=3)
    advance(shop, clock, period_end(shop, sub) - HOUR_S // 2)
    assert in_its_hour(shop, sub).ended == Ended.DONE
    assert shop.quantities(sub) == {"base": 5, "voice": 3}
    assert shop.findings(sub) == set(), "or has it added"


def test_one_that_was_declined_is_not_forgotten_over_the_next_one(
    two_kinds: Shop, clock: str
) -> None:
    """What is free in its hour is not held up by it, and does not end it either."""
    shop = two_kinds
    customer, sub = begun_with_two_kinds(shop, clock)
    approve(shop, base=7)
    advance(shop, clock, period_end(shop, sub) + 2 * HOUR_S)
    shop.sandbox.control("/declines", {"customer": customer, "code": "insufficient_funds"})
    in_its_hour(shop, sub)
    assert shop.findings(sub) == {"payment_declined"}
    approve(shop, voice=4)
    advance(shop, clock, period_end(shop, sub) - HOUR_S // 2)
    assert in_its_hour(shop, sub).ended == Ended.POSTPONED
    assert shop.quantities(sub) == {"base": 5, "voice": 4}
    assert waiting(shop) is not None
    # In the same hour still, and the request of the one before is not worked off.
    approve(shop, voice=5)
    assert in_its_hour(shop, sub).ended == Ended.POSTPONED
    assert shop.quantities(sub) == {"base": 5, "voice": 5}
    shop.sandbox.control("/declines", {"customer": customer, "code": None})
    shop.settle(sub, retry_declined=True)
    assert shop.quantities(sub) == {"base": 7, "voice": 5}
    assert agreed(shop)[-1] == {"base": 7, "voice": 5}
    assert in_its_hour(shop, sub).ended == Ended.DONE
    assert shop.findings(sub) == set()


def test_nothing_is_changed_for_a_plan_that_has_no_contract_any_more(
    monthly: Shop, clock: str
) -> None:
    shop, sub = monthly, begun(monthly, clock)
    approve(shop, pro=8)
    advance(shop, clock, period_end(shop, sub) - HOUR_S // 2)
    left = shop.with_plan("workspace_business", policy=SeatPolicy.PURCHASED)
    assert in_its_hour(left, sub).ended == Ended.DONE, "and not again every hour"
    assert shop.quantities(sub) == {"pro": 6}


def test_seats_of_a_kind_that_the_plan_lacks_by_now_are_not_added(
    two_kinds: Shop, clock: str
) -> None:
    """There is no price for them: each look would fail, and nothing else be done."""
    shop = two_kinds
    sub = shop.subscribe(shop.organization(base=3, test_clock=clock), {"base": 5})
    shop.settle(sub)
    approve(shop, voice=3)
    advance(shop, clock, period_end(shop, sub) - HOUR_S // 2)
    rules = shop.services.catalog.plan("agency").rules
    left = {"base": rules.seat_types["base"]}
    assert in_its_hour(shop.with_plan("agency", seat_types=left), sub).ended == Ended.DONE
    assert shop.quantities(sub) == {"base": 5}


def test_an_annual_contract_is_prorated_for_the_rest_of_its_year(shop: Shop, clock: str) -> None:
    sub = begun(shop, clock, interval="year")
    advance(shop, clock, (START + period_end(shop, sub)) // 2)
    found = seat_change.preview(shop.services, "org_1", wanted(pro=8), actor=EVE)
    assert isinstance(found, Preview)
    assert abs(found.quote.total_minor - 2 * 139320 // 2) <= 2
    assert approve(shop, pro=8).at_renewal is None
    assert shop.quantities(sub) == {"pro": 8}
    assert shop.findings(sub) == set()


def test_a_reduction_never_goes_below_who_is_active_by_then(shop: Shop, clock: str) -> None:
    shop = shop.with_plan("workspace_business", contract_kind="monthly", contract_removals=True)
    sub = begun(shop, clock, seats=9)
    approve(shop, pro=6)
    shop.activate("org_1", "pro", 8)
    advance(shop, clock, period_end(shop, sub) - HOUR_S // 2)
    shop.settle(sub)
    assert shop.quantities(sub) == {"pro": 8}
    assert shop.findings(sub) == set()
