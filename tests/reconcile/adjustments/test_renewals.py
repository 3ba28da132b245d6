"""What is lowered at a renewal, on a test clock: the next invoice bills the right seats."""

import pytest
from sqlalchemy import select

from reconcile.actor import Actor
from reconcile.adjustments import seat_change
from reconcile.adjustments.seat_change import Applied, Preview, Stale
from reconcile.operating import pausing
from reconcile.operating.pausing import Resumed
from reconcile.policy.seat_change import Wanted
from reconcile.settling.work import Ended, work_off
from reconcile.store.pauses import ORGANIZATION
from reconcile.store.renewals import LOWER
from reconcile.tables import events
from tests.support.inbox import an_event
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


@pytest.fixture
def team(shop: Shop, clock: str) -> str:
    """Five seats that follow the members, of whom two have left."""
    customer = shop.organization(plan="team", member=5, test_clock=clock)
    sub = shop.subscribe(customer, {"member": 5}, plan="team")
    shop.settle(sub)
    shop.activate("org_1", "member", 3)
    assert "at renewal" in shop.settle(sub).line
    return sub


def test_lowered_in_the_last_hour_the_next_invoice_bills_who_is_active(
    shop: Shop, clock: str, team: str
) -> None:
    end = period_end(shop, team)
    advance(shop, clock, end - HOUR_S // 2)
    shop.settle(team)
    assert shop.quantities(team) == {"member": 3}
    advance(shop, clock, end + 2 * HOUR_S)
    (renewal,) = cycle(shop, team)
    assert renewal["total"] == 3 * 1500
    assert shop.findings(team) == set()


def test_a_missed_renewal_is_credited_from_its_start(shop: Shop, clock: str, team: str) -> None:
    end = period_end(shop, team)
    advance(shop, clock, end + 26 * HOUR_S)
    (renewal,) = cycle(shop, team)
    assert renewal["total"] == 5 * 1500
    settled = shop.settle(team)
    assert "the renewal was missed" in settled.line
    assert shop.quantities(team) == {"member": 3}
    (credit,) = shop.invoices(team, "subscription_update")
    assert credit["total"] == -2 * 1500
    assert credit["amount_due"] == 0
    (adjustment,) = shop.adjustments(team)
    assert adjustment.total_minor == -2 * 1500
    assert adjustment.amount_due_minor == 0
    assert "credited USD 30.00" in settled.line
    assert shop.findings(team) == set()
    # Once: whoever leaves after the renewal has been paid for until the next one.
    shop.activate("org_1", "member", 2)
    shop.settle(team)
    assert shop.quantities(team) == {"member": 3}


def test_who_comes_back_before_the_renewal_keeps_the_seat(
    shop: Shop, clock: str, team: str
) -> None:
    shop.activate("org_1", "member", 5)
    end = period_end(shop, team)
    advance(shop, clock, end - HOUR_S // 2)
    shop.settle(team)
    assert shop.quantities(team) == {"member": 5}
    assert shop.writes(team) == 0


def test_a_raise_is_prorated_by_the_subscriptions_own_clock(
    shop: Shop, clock: str, team: str
) -> None:
    start, end = START, period_end(shop, team)
    middle = (start + end) // 2
    advance(shop, clock, middle)
    shop.activate("org_1", "member", 7)
    shop.settle(team)
    (raised,) = shop.invoices(team, "subscription_update")
    assert abs(raised["total"] - 2 * 1500 // 2) <= 2
    assert shop.findings(team) == set()


def test_an_event_right_before_the_last_hour_leaves_the_plan_for_its_hour(
    shop: Shop, clock: str, team: str
) -> None:
    end = period_end(shop, team)
    advance(shop, clock, end - HOUR_S - 10)
    shop.settle(team)
    assert told_of_something(shop, team).ended == Ended.DONE
    advance(shop, clock, end - HOUR_S // 2)
    assert in_its_hour(shop, team).ended == Ended.DONE
    assert shop.quantities(team) == {"member": 3}


def test_what_is_taken_before_its_hour_waits_for_it_again(
    shop: Shop, clock: str, team: str
) -> None:
    """Whatever made it due: somebody who put it aside and took it back, say."""
    assert in_its_hour(shop, team).ended == Ended.POSTPONED
    advance(shop, clock, period_end(shop, team) - HOUR_S // 2)
    assert in_its_hour(shop, team).ended == Ended.DONE
    assert shop.quantities(team) == {"member": 3}


def test_what_came_along_with_something_planned_is_done(shop: Shop, clock: str, team: str) -> None:
    """An event waits for no renewal, a month away: what is pending is looked at by people."""
    with shop.services.sessions.begin() as session:
        an_event(session, work_key=f"sub:{team}", subscription_id=team, type="invoice.upcoming")
    report = in_its_hour(shop, team)
    assert (report.ended, report.events) == (Ended.DONE, 1)
    with shop.services.sessions() as session:
        pending = session.scalars(select(events.c.type).where(events.c.state == "pending")).all()
    assert pending == [LOWER]
    advance(shop, clock, period_end(shop, team) - HOUR_S // 2)
    assert in_its_hour(shop, team).ended == Ended.DONE
    assert shop.quantities(team) == {"member": 3}


def test_a_pause_that_ends_before_the_last_hour_leaves_the_plan_for_its_hour(
    shop: Shop, clock: str, team: str
) -> None:
    kim = Actor("cli:kim", because="a look at it")
    pausing.pause(shop.services, ORGANIZATION, "org_1", kim)
    assert told_of_something(shop, team).ended == Ended.PAUSED
    resumed = pausing.resume(shop.services, ORGANIZATION, "org_1", kim)
    assert isinstance(resumed, Resumed)
    assert resumed.released == 1, "the event; what waits for the hour was not due"
    assert work_off(shop.services, f"sub:{team}").ended == Ended.DONE
    advance(shop, clock, period_end(shop, team) - HOUR_S // 2)
    assert in_its_hour(shop, team).ended == Ended.DONE
    assert shop.quantities(team) == {"member": 3}


def past_due(shop: Shop, sub: str, member: int) -> str:
    """A person adds seats in the dashboard, and the card is declined; returns the customer."""
    customer = str(shop.sandbox.get(f"/v1/subscriptions/{sub}")["customer"])
    shop.sandbox.control("/declines", {"customer": customer, "code": "card_declined"})
    shop.edit(
        sub,
        "member",
        member,
        payment_behavior="allow_incomplete",
        proration_behavior="always_invoice",
    )
    assert shop.sandbox.get(f"/v1/subscriptions/{sub}")["status"] == "past_due"
    return customer


def paid(shop: Shop, sub: str, customer: str) -> None:
    """The card is fine again, and what is open is paid."""
    shop.sandbox.control("/declines", {"customer": customer, "code": None})
    for invoice in shop.invoices(sub):
        if invoice["status"] == "open":
            shop.sandbox.post(f"/v1/invoices/{invoice['id']}/pay")
    assert shop.sandbox.get(f"/v1/subscriptions/{sub}")["status"] == "active"


def test_past_due_in_the_last_hour_it_is_credited_from_the_start_of_the_next_period(
    shop: Shop, clock: str, team: str
) -> None:
    end = period_end(shop, team)
    advance(shop, clock, end - 24 * HOUR_S)
    customer = past_due(shop, team, 20)
    advance(shop, clock, end - HOUR_S // 2)
    assert in_its_hour(shop, team).ended == Ended.POSTPONED
    advance(shop, clock, end + 2 * HOUR_S)
    assert in_its_hour(shop, team).ended == Ended.POSTPONED
    assert shop.quantities(team) == {"member": 20}
    paid(shop, team, customer)
    made = in_its_hour(shop, team)
    assert made.ended == Ended.DONE
    assert "the renewal was missed" in made.line
    assert shop.quantities(team) == {"member": 3}
    credit = shop.invoices(team, "subscription_update")[-1]
    assert credit["total"] == -17 * 1500
    assert in_its_hour(shop, team).ended == Ended.NOTHING_DUE


def test_past_due_in_the_last_hour_who_came_back_is_not_waited_for(
    shop: Shop, clock: str, team: str
) -> None:
    end = period_end(shop, team)
    advance(shop, clock, end - 24 * HOUR_S)
    past_due(shop, team, 20)
    advance(shop, clock, end - HOUR_S // 2)
    shop.activate("org_1", "member", 20)
    assert in_its_hour(shop, team).ended == Ended.DONE


@pytest.mark.parametrize("left_s", [24 * HOUR_S, HOUR_S // 2])
def test_who_leaves_while_an_invoice_is_unpaid_is_not_billed_for_another_period(
    shop: Shop, clock: str, left_s: int
) -> None:
    customer = shop.organization(plan="team", member=5, test_clock=clock)
    sub = shop.subscribe(customer, {"member": 5}, plan="team")
    shop.settle(sub)
    end = period_end(shop, sub)
    advance(shop, clock, end - 25 * HOUR_S)
    past_due(shop, sub, 6)
    advance(shop, clock, end - left_s)
    shop.activate("org_1", "member", 3)
    shop.settle(sub)
    advance(shop, clock, end + 2 * HOUR_S)
    in_its_hour(shop, sub)
    assert shop.quantities(sub) == {"member": 6}
    paid(shop, sub, customer)
    in_its_hour(shop, sub)
    assert shop.quantities(sub) == {"member": 3}
    credit = shop.invoices(sub, "subscription_update")[-1]
    assert credit["total"] == -3 * 1500


def previewed(shop: Shop, interval: str) -> Preview:
    """What the switch would cost."""
    ada = Actor("token:tok_1", "tok_1")
    found = seat_change.preview(shop.services, "org_1", Wanted(interval=interval), actor=ada)
    assert isinstance(found, Preview), found
    return found


def applied(shop: Shop, found: Preview) -> Applied | Stale:
    """The switch as it was shown."""
    ada = Actor("token:tok_1", "tok_1")
    done = seat_change.apply(shop.services, "org_1", found.id, actor=ada)
    assert isinstance(done, Applied | Stale), done
    return done


def waiting(shop: Shop) -> int:
    """How many lowerings wait for a renewal."""
    with shop.services.sessions() as session:
        found = select(events.c.id).where(events.c.type == LOWER, events.c.state == "pending")
        return len(session.execute(found).all())


def test_nobody_pays_a_year_for_seats_that_were_to_go_with_the_month(
    shop: Shop, clock: str, team: str
) -> None:
    """B10: what is left of the month is credited for all seats, the year begins with three."""
    old_end = period_end(shop, team)
    found = previewed(shop, "year")
    assert found.quote.words.startswith("Change: -2 Member seats, billed each year.")
    assert isinstance(applied(shop, found), Applied)
    assert shop.quantities(team) == {"member": 3}
    (invoice,) = shop.invoices(team, "subscription_update")
    assert invoice["total"] == 3 * 16200 - 5 * 1500 == found.quote.total_minor
    assert waiting(shop) == 0, "what was to be lowered is"
    # Who leaves now is paid for until the year's end, not the month's.
    shop.activate("org_1", "member", 2)
    shop.settle(team)
    advance(shop, clock, old_end - HOUR_S // 2)
    assert in_its_hour(shop, team).ended == Ended.POSTPONED
    assert shop.quantities(team) == {"member": 3}
    end = period_end(shop, team)
    advance(shop, clock, end - HOUR_S // 2)
    assert in_its_hour(shop, team).ended == Ended.DONE
    advance(shop, clock, end + 2 * HOUR_S)
    (renewal,) = cycle(shop, team)
    assert renewal["total"] == 2 * 16200
    assert shop.findings(team) == set()


def test_back_to_the_month_nothing_waits_for_the_years_end(
    shop: Shop, clock: str, team: str
) -> None:
    applied(shop, previewed(shop, "year"))
    shop.activate("org_1", "member", 2)
    shop.settle(team)
    assert waiting(shop) == 1
    assert isinstance(applied(shop, previewed(shop, "month")), Applied)
    assert (shop.quantities(team), waiting(shop)) == ({"member": 2}, 0)
    back = shop.invoices(team, "subscription_update")[-1]
    assert back["total"] == 2 * 1500 - 3 * 16200
    end = period_end(shop, team)
    advance(shop, clock, end + 2 * HOUR_S)
    (renewal,) = cycle(shop, team)
    assert renewal["total"] == 2 * 1500
    assert shop.settle(team).adjustment_id is None
    assert shop.findings(team) == set()


def test_who_comes_back_while_the_switch_is_looked_at_keeps_the_seat(shop: Shop, team: str) -> None:
    found = previewed(shop, "year")
    shop.activate("org_1", "member", 4)
    late = applied(shop, found)
    assert isinstance(late, Stale)
    assert shop.quantities(team) == {"member": 5}
    assert isinstance(late.fresh, Preview)
    assert isinstance(applied(shop, late.fresh), Applied)
    assert shop.quantities(team) == {"member": 4}
