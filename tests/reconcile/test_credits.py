"""A4 with the sandbox: what Stripe was paid for is granted, once a seat and period, and pooled."""

from datetime import timedelta
from typing import Any

from reconcile.store import credits as ledger
from reconcile.store.credits import Granted
from tests.support.roster import add_member
from tests.support.shop import Shop, moment

START = 1_775_030_400  # 2026-04-01 08:00:00 UTC
DAY_S = 86_400
HOUR_S = 3_600


class Workspace:
    """An organization of own seats on a test clock."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        made = shop.sandbox.post("/v1/test_helpers/test_clocks", {"frozen_time": START})
        self.clock = str(made["id"])
        self.customer = shop.organization(plan="workspace_pro", test_clock=self.clock)

    def seat(self, member_id: str, *, status: str = "active", **params: Any) -> str:
        with self.shop.services.sessions.begin() as session:
            add_member(session, "org_1", member_id, seat_type="pro", status=status)
        return self.shop.subscribe(
            self.customer,
            {"pro": 1},
            plan="workspace_pro",
            **{"metadata[member_id]": member_id, **params},
        )

    def advance(self, days: float, *, hours: float = 0) -> None:
        to = START + int(days * DAY_S + hours * HOUR_S)
        self.shop.sandbox.post(
            f"/v1/test_helpers/test_clocks/{self.clock}/advance", {"frozen_time": to}
        )

    def grants(self) -> tuple[Granted, ...]:
        with self.shop.services.sessions() as session:
            return ledger.page(session, "org_1")[::-1]

    def pool(self, days: float) -> int:
        with self.shop.services.sessions() as session:
            at = moment(START) + timedelta(days=days)
            return ledger.pool(session, "org_1", at)

    def invoice_calls(self) -> int:
        calls = self.shop.sandbox.observe("/calls")["calls"]
        return sum(call["path"].startswith("/v1/invoices") for call in calls)


def test_paid_seats_pool_automatically(shop: Shop) -> None:
    """A4."""
    here = Workspace(shop)
    for member in ("ann", "bob"):
        settled = shop.settle(here.seat(member))
    assert settled.line.endswith("1000 credits until 2026-05-01")
    assert here.pool(1) == 2000
    assert [grant.member_id for grant in here.grants()] == ["ann", "bob"]
    assert here.pool(31) == 0, "they are over with their period"


def test_a_mid_cycle_invoice_grants_nothing_twice(shop: Shop) -> None:
    """A4."""
    here = Workspace(shop)
    seat = here.seat("ann")
    shop.settle(seat)
    here.advance(10)
    shop.sandbox.post(
        "/v1/invoiceitems",
        {"customer": here.customer, "subscription": seat, "amount": 500, "currency": "usd"},
    )
    invoice = shop.sandbox.post(
        "/v1/invoices", {"customer": here.customer, "subscription": seat, "auto_advance": "true"}
    )
    shop.sandbox.post(f"/v1/invoices/{invoice['id']}/pay", {})
    for _ in range(3):
        shop.settle(seat)
    assert here.pool(11) == 1000
    assert len(here.grants()) == 1


def test_a_period_is_granted_when_it_is_paid_not_when_it_begins(shop: Shop) -> None:
    here = Workspace(shop)
    seat = here.seat("ann")
    shop.settle(seat)
    here.advance(30, hours=0.2)  # the invoice of May is a draft for an hour
    assert shop.invoices(seat)[-1]["status"] == "draft"
    shop.settle(seat)
    assert len(here.grants()) == 1
    here.advance(30, hours=2)
    assert shop.invoices(seat)[-1]["status"] == "paid"
    shop.settle(seat)
    assert [g.period_start for g in here.grants()] == [
        moment(START),
        moment(START + 30 * DAY_S),
    ]
    assert here.pool(31) == 1000


def test_a_change_that_is_paid_does_not_pay_for_the_period(shop: Shop) -> None:
    """Billed by an invoice that is sent: the subscription stays active while it is open."""
    here = Workspace(shop)
    seat = here.seat("ann", collection_method="send_invoice", days_until_due=30)
    shop.settle(seat)
    assert here.grants() == ()
    here.advance(10)
    shop.edit(seat, "pro", 2, proration_behavior="always_invoice")
    change = shop.invoices(seat)[-1]
    shop.sandbox.post(f"/v1/invoices/{change['id']}/pay", {"paid_out_of_band": "true"})
    shop.settle(seat)
    assert here.grants() == ()
    sent = shop.invoices(seat)[0]
    assert sent["status"] == "open"
    shop.sandbox.post(f"/v1/invoices/{sent['id']}/pay", {"paid_out_of_band": "true"})
    shop.settle(seat)
    assert here.pool(11) == 1000


def test_an_unpaid_seat_stops_at_its_next_period(shop: Shop) -> None:
    """A4."""
    here = Workspace(shop)
    seats = [here.seat("ann"), here.seat("bob")]
    for seat in seats:
        shop.settle(seat)
    shop.sandbox.post(f"/v1/subscriptions/{seats[0]}", {"cancel_at_period_end": "true"})
    shop.settle(seats[0])
    assert here.pool(29) == 2000, "what was granted stays until the end of its period"
    here.advance(31)
    for seat in seats:
        shop.settle(seat)
    assert here.pool(31) == 1000
    assert [g.member_id for g in here.grants()] == ["ann", "bob", "bob"]


def test_a_seat_canceled_at_once_keeps_what_it_granted(shop: Shop) -> None:
    here = Workspace(shop)
    seat = here.seat("ann")
    shop.settle(seat)
    shop.sandbox._answer("DELETE", f"/v1/subscriptions/{seat}")
    shop.settle(seat)
    assert here.pool(29) == 1000
    assert len(here.grants()) == 1


def test_a_declined_renewal_grants_nothing(shop: Shop) -> None:
    here = Workspace(shop)
    seat = here.seat("ann")
    shop.settle(seat)
    shop.sandbox.control("/declines", {"customer": here.customer, "code": "card_declined"})
    here.advance(31)
    shop.settle(seat)
    assert here.pool(31) == 0
    assert len(here.grants()) == 1


def test_a_trial_grants_nothing_until_it_is_paid_for(shop: Shop) -> None:
    here = Workspace(shop)
    seat = here.seat("ann", trial_end=START + 10 * DAY_S)
    shop.settle(seat)
    assert here.pool(1) == 0
    here.advance(10, hours=2)
    shop.settle(seat)
    assert here.pool(11) == 1000


def test_a_year_grants_its_twelve_months_at_once(shop: Shop) -> None:
    here = Workspace(shop)
    seat = here.seat("ann")
    yearly = shop.services.catalog.price_of("workspace_pro", "pro", "year", "usd")
    shop.settle(seat)
    here.advance(10)
    # The interval is switched in the middle of the month: the month ends, the year begins.
    shop.sandbox.post(
        f"/v1/subscriptions/{seat}",
        {
            "items[0][id]": shop.seats(seat)["pro"].item_id,
            "items[0][price]": yearly.id,
            "proration_behavior": "always_invoice",
        },
    )
    shop.settle(seat)
    assert here.pool(9) == 1000
    assert here.pool(11) == 12000, "not the rest of the month on top of it"
    assert here.pool(300) == 12000


def test_a_seat_without_an_active_member_is_out_of_the_pool(shop: Shop) -> None:
    here = Workspace(shop)
    shop.settle(here.seat("ann", status="blocked"))
    assert here.pool(1) == 0


def test_the_invoice_is_asked_for_once_a_period(shop: Shop) -> None:
    here = Workspace(shop)
    seat = here.seat("ann")
    shop.settle(seat)
    before = here.invoice_calls()
    for _ in range(3):
        shop.settle(seat)
    assert here.invoice_calls() == before


def test_plans_without_credits_ask_nothing(shop: Shop) -> None:
    customer = shop.organization(voice=1)
    subscription = shop.subscribe(customer, {"voice": 1})
    shop.settle(subscription)
    with shop.services.sessions() as session:
        assert ledger.page(session, "org_1") == ()
