"""What was approved of a contract, and where it waits by now (A6).

The seats may be on another subscription before the next cycle begins, the billing period may be
another one, and a subscription may be over.
"""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from reconcile.adjustments import contract
from reconcile.errors import StripeGone
from reconcile.policy.values import Refuse
from reconcile.settling.work import Ended, work_off
from reconcile.store import renewals
from reconcile.store.renewals import APPROVED
from reconcile.stripe_shapes import StripeSubscription
from reconcile.tables import events
from tests.support.approving import (
    EVE,
    agree,
    agreed,
    approve,
    begun,
    done_to_contract,
    waiting,
    withdrawn,
)
from tests.support.renewing import (
    HOUR_S,
    START,
    advance,
    in_its_hour,
    period_end,
    told_of_something,
)
from tests.support.shop import Shop, moment

PLAN = "workspace_business"


def another(shop: Shop, beside: str, seats: int = 6) -> str:
    """The customer buys the seats once more."""
    customer = shop.sandbox.get(f"/v1/subscriptions/{beside}")["customer"]
    return shop.subscribe(customer, {"pro": seats}, plan=PLAN)


def over(shop: Shop, sub: str) -> None:
    """It is canceled in Stripe, and a worker hears of it."""
    shop.sandbox._answer("DELETE", f"/v1/subscriptions/{sub}")
    told_of_something(shop, sub)


def pending(shop: Shop, sub: str) -> list[Any]:
    """What is left to be done for the subscription."""
    of = (events.c.work_key == f"sub:{sub}", events.c.state == "pending")
    with shop.services.sessions() as session:
        return list(session.scalars(select(events.c.type).where(*of)))


def test_it_follows_the_seats_to_another_subscription(monthly: Shop, clock: str) -> None:
    """The old one lives on with something else; it was looked at every hour, for ever."""
    shop, old = monthly, begun(monthly, clock)
    agree(shop, pro=6)
    approve(shop, pro=8)
    shop.sandbox.post(f"/v1/subscriptions/{old}", {"items[0][price]": shop.stickers()})
    advance(shop, clock, period_end(shop, old) - 240 * HOUR_S)
    new = another(shop, old)
    shop.settle(new)
    shop.take_out(old, "pro")
    told_of_something(shop, old)
    assert pending(shop, old) == []
    assert done_to_contract(shop)[-1] == "contract.change_moved"
    found = waiting(shop)
    assert found is not None
    end = period_end(shop, new)
    assert (dict(found.quantities), found.period_end) == ({"pro": 8}, moment(end))
    assert work_off(shop.services, f"sub:{new}").ended == Ended.POSTPONED
    advance(shop, clock, end - HOUR_S // 2)
    assert in_its_hour(shop, new).ended == Ended.DONE
    assert shop.quantities(new) == {"pro": 8}
    assert agreed(shop)[-1] == {"pro": 8}
    assert (waiting(shop), shop.findings(old), shop.findings(new)) == (None, set(), set())


@pytest.mark.parametrize("successor", [False, True])
def test_it_is_taken_back_wherever_it_waits(monthly: Shop, clock: str, successor: bool) -> None:
    """Beside a second subscription, and on one that is over."""
    shop, sub = monthly, begun(monthly, clock)
    approve(shop, pro=8)
    if successor:
        shop.settle(another(shop, sub))
    else:
        over(shop, sub)
    assert waiting(shop) is not None
    assert withdrawn(shop) == {"pro": 8}
    assert waiting(shop) is None
    assert pending(shop, sub) == []


def test_with_a_subscription_that_is_over_it_ends_on_record(monthly: Shop, clock: str) -> None:
    """Not before its hour: another one may take its place until then."""
    shop, sub = monthly, begun(monthly, clock)
    approve(shop, pro=8)
    over(shop, sub)
    assert waiting(shop) is not None
    in_its_hour(shop, sub)
    assert waiting(shop) is None
    assert done_to_contract(shop) == ["contract.change_approved", "contract.change_ended"]
    refused = contract.withdraw(shop.services, "org_1", actor=EVE)
    assert isinstance(refused, Refuse)
    assert refused.code == "nothing_waits"


def test_what_a_wrong_key_does_not_find_goes_on_waiting(
    monthly: Shop, clock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the key of another mode or account every subscription is gone, and none is over."""

    def unknown(_subscription_id: str) -> StripeSubscription:
        raise StripeGone("No such subscription")

    shop, sub = monthly, begun(monthly, clock)
    approve(shop, pro=8)
    advance(shop, clock, period_end(shop, sub) - HOUR_S // 2)
    with monkeypatch.context() as wrong:
        wrong.setattr(shop.services.stripe, "subscription", unknown)
        assert in_its_hour(shop, sub).ended == Ended.POSTPONED
    assert waiting(shop) is not None
    assert in_its_hour(shop, sub).ended == Ended.DONE
    assert shop.quantities(sub) == {"pro": 8}


def test_what_was_approved_later_where_the_seats_are_counts(monthly: Shop, clock: str) -> None:
    shop, old = monthly, begun(monthly, clock)
    approve(shop, pro=8)
    over(shop, old)
    new = another(shop, old)
    shop.settle(new)
    approve(shop, pro=9)
    in_its_hour(shop, old)
    assert pending(shop, old) == []
    advance(shop, clock, period_end(shop, new) - HOUR_S // 2)
    in_its_hour(shop, new)
    assert shop.quantities(new) == {"pro": 9}
    assert waiting(shop) is None
    assert shop.writes(new) == 1


def test_what_is_approved_before_anybody_knows_where_the_seats_go_is_called_there(
    monthly: Shop, clock: str
) -> None:
    """Nothing settles a subscription that is over: it stayed with it for the rest of the year."""
    shop, old = monthly, begun(monthly, clock, interval="year")
    approve(shop, pro=8)
    over(shop, old)
    new = another(shop, old)
    shop.settle(new)
    work_off(shop.services, f"sub:{old}")
    assert pending(shop, old) == []
    found = waiting(shop)
    assert found is not None
    end = moment(period_end(shop, new))
    assert (found.subscription_id, found.period_end) == (new, end)
    assert work_off(shop.services, f"sub:{new}").ended == Ended.POSTPONED


def test_an_older_one_does_not_count_where_the_later_one_goes(monthly: Shop, clock: str) -> None:
    """The seats went from one subscription to another, and back."""
    shop, old = monthly, begun(monthly, clock)
    approve(shop, pro=8)
    shop.sandbox.post(f"/v1/subscriptions/{old}", {"items[0][price]": shop.stickers()})
    shop.take_out(old, "pro")
    shop.settle(old)
    new = another(shop, old)
    shop.settle(new)
    approve(shop, pro=9)
    price = shop.services.catalog.price_of(PLAN, "pro", "month", "usd")
    again = {"items[0][price]": price.id, "items[0][quantity]": 6}
    shop.sandbox.post(f"/v1/subscriptions/{old}", again)
    shop.settle(old)
    over(shop, new)
    found = waiting(shop)
    assert found is not None
    assert (found.subscription_id, dict(found.quantities)) == (old, {"pro": 9})
    assert pending(shop, old) == [APPROVED]


def test_a_change_that_is_made_ends_what_waits_elsewhere(monthly: Shop, clock: str) -> None:
    """Moved later, the older one would take paid seats away."""
    shop, old = monthly, begun(monthly, clock)
    approve(shop, pro=8)
    over(shop, old)
    new = another(shop, old)
    shop.settle(new)
    assert approve(shop.with_plan(PLAN, contract_kind="annual_upfront"), pro=9).at_renewal is None
    assert waiting(shop) is None
    in_its_hour(shop, old)
    assert pending(shop, new) == []


def test_a_change_that_is_made_leaves_what_took_its_place(monthly: Shop, clock: str) -> None:
    """A worker had it in hands when a later one came from elsewhere and ended it."""
    shop, sub = monthly, begun(monthly, clock)
    approve(shop, pro=8)
    made = waiting(shop)
    assert made is not None
    assert withdrawn(shop) == {"pro": 8}
    approve(shop, pro=9)
    with shop.services.sessions.begin() as session:
        renewals.leave_out(session, "org_1", {"pro"}, through=made.id, outcome="it is made")
    assert pending(shop, sub) == [APPROVED]
    found = waiting(shop)
    assert found is not None
    assert found.quantities == {"pro": 9}


def test_it_waits_for_the_end_that_the_period_has_by_now(monthly: Shop, clock: str) -> None:
    """Somebody has it billed by the year: at the month's end nothing begins, and it was lost."""
    shop, sub = monthly, begun(monthly, clock)
    approve(shop, pro=8)
    old_end = period_end(shop, sub)
    advance(shop, clock, old_end - 240 * HOUR_S)
    price = shop.services.catalog.price_of(PLAN, "pro", "year", "usd")
    shop.edit(sub, "pro", 6, **{"items[0][price]": price.id})
    shop.settle(sub)
    advance(shop, clock, old_end - HOUR_S // 2)
    assert in_its_hour(shop, sub).ended == Ended.POSTPONED
    end = period_end(shop, sub)
    found = waiting(shop)
    assert found is not None
    assert found.period_end == moment(end)
    advance(shop, clock, end - HOUR_S // 2)
    assert in_its_hour(shop, sub).ended == Ended.DONE
    assert shop.quantities(sub) == {"pro": 8}


def test_it_does_not_wait_for_an_end_that_the_period_had(monthly: Shop, clock: str) -> None:
    """Somebody has it billed by the month instead: it came when the year would have ended."""
    shop, sub = monthly, begun(monthly, clock, interval="year")
    approve(shop, pro=8)
    price = shop.services.catalog.price_of(PLAN, "pro", "month", "usd")
    shop.edit(sub, "pro", 6, **{"items[0][price]": price.id})
    shop.settle(sub)
    with shop.services.sessions() as session:
        due_at = session.scalars(select(events.c.due_at).where(events.c.state == "pending")).one()
    end = timedelta(seconds=period_end(shop, sub) - START)
    assert timedelta() < due_at - shop.services.clock() < end
    advance(shop, clock, period_end(shop, sub) - HOUR_S // 2)
    assert in_its_hour(shop, sub).ended == Ended.DONE
    assert shop.quantities(sub) == {"pro": 8}


def test_what_is_agreed_meanwhile_is_of_the_subscription_that_is_left(
    monthly: Shop, clock: str
) -> None:
    """Recorded while there were two, it was compared with neither."""
    shop, old = monthly, begun(monthly, clock)
    agree(shop, pro=6)
    new = another(shop, old)
    shop.settle(new)
    agree(shop, pro=10)
    over(shop, old)
    shop.settle(new)
    assert shop.findings(new) == {"contract_drift"}
    assert shop.seats(new)["pro"].quantity == 10


def test_which_of_two_subscriptions_is_to_have_what_is_new_is_not_guessed(
    two_kinds: Shop, clock: str
) -> None:
    shop = two_kinds
    customer = shop.organization(base=3, test_clock=clock)
    subs = [shop.subscribe(customer, {"base": 5}) for _ in range(2)]
    agree(shop, base=5, voice=3)
    for sub in subs * 2:
        shop.settle(sub)
    assert shop.findings(subs[0]) == shop.findings(subs[1]) == {"several_subscriptions"}
    over(shop, subs[0])
    shop.settle(subs[1])
    assert shop.findings(subs[1]) == {"contract_drift"}


def test_none_is_what_a_subscription_without_the_item_has(two_kinds: Shop, clock: str) -> None:
    """Whoever replaced it left out what was to be taken away: the contract missed it for ever."""
    shop = two_kinds
    customer = shop.organization(base=3, test_clock=clock)
    old = shop.subscribe(customer, {"base": 5, "voice": 2})
    shop.settle(old)
    agree(shop, removals=True, base=5, voice=2)
    approve(shop, voice=0)
    new = shop.subscribe(customer, {"base": 5})
    over(shop, old)
    shop.settle(new)
    assert shop.findings(new) == {"contract_drift"}
    in_its_hour(shop, old)
    advance(shop, clock, period_end(shop, new) - HOUR_S // 2)
    assert in_its_hour(shop, new).ended == Ended.DONE
    assert agreed(shop)[-1] == {"base": 5, "voice": 0}
    assert shop.findings(new) == set()
    assert shop.writes(new) == 0
