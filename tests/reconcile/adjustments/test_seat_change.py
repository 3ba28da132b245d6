"""A person's change of seats: the preview in words and figures, and the one update it becomes."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from reconcile.actor import Actor
from reconcile.adjustments import seat_change
from reconcile.adjustments.seat_change import Applied, Preview, Stale
from reconcile.budget import Unbudgeted
from reconcile.errors import OutcomeUnknown
from reconcile.nights import checks
from reconcile.policy.seat_change import Move, Wanted
from reconcile.policy.values import Keep, Refuse
from reconcile.store import previews, roster
from reconcile.stripe_api import StripeApi
from reconcile.stripe_shapes import StripeInvoice
from reconcile.tables import reviews
from tests.support.roster import add_member
from tests.support.shop import Shop

ADA = Actor("token:tok_1", "tok_1")


@pytest.fixture
def sub(shop: Shop) -> str:
    """Ten Base and five Voice seats; eight and five members are active."""
    customer = shop.organization(base=8, voice=5)
    sub = shop.subscribe(customer, {"base": 10, "voice": 5})
    shop.settle(sub)
    return sub


def previewed(shop: Shop, wanted: Wanted) -> Preview:
    """A preview that is one."""
    found = seat_change.preview(shop.services, "org_1", wanted, actor=ADA)
    assert isinstance(found, Preview), found
    return found


def applied(shop: Shop, found: Preview) -> Applied | Stale | Refuse:
    """What becomes of the confirmed change."""
    return seat_change.apply(shop.services, "org_1", found.id, actor=ADA)


def test_adding_and_removing_in_one_save_is_netted_by_stripe_in_one_update(
    shop: Shop, sub: str
) -> None:
    """B1, money.preview."""
    wanted = Wanted(quantities={"voice": 7, "base": 9})
    found = previewed(shop, wanted)
    assert found.quote.words.startswith(
        "Change: +2 Voice seats, -1 Base seat. New plan total: USD 620.00/month (+USD 70.00/month)."
    )
    assert shop.writes(sub) == 0
    done = applied(shop, found)
    assert isinstance(done, Applied)
    assert done.adjustment is not None
    assert shop.quantities(sub) == {"base": 9, "voice": 7}
    assert shop.writes(sub) == 1
    (invoice,) = shop.invoices(sub, "subscription_update")
    assert invoice["total"] == found.quote.total_minor == done.adjustment.total_minor
    assert invoice["amount_due"] == found.quote.due_now_minor
    assert shop.findings(sub) == set()
    # Both Q and S, at once: the seats can be taken before any webhook comes.
    seats = shop.seats(sub)
    assert {n: (s.quantity, s.stripe_quantity) for n, s in seats.items()} == {
        "base": (9, 9),
        "voice": (7, 7),
    }


def test_removing_seats_is_a_credit_on_the_next_invoice(shop: Shop, sub: str) -> None:
    """money.credit."""
    wanted = Wanted(quantities={"base": 8})
    found = previewed(shop, wanted)
    assert found.quote.total_minor < 0
    assert found.quote.due_now_minor == 0
    assert "is credited on the next invoice; nothing is refunded" in found.quote.words
    done = applied(shop, found)
    assert isinstance(done, Applied)
    assert shop.invoices(sub, "subscription_update") == []
    pending = shop.sandbox.get("/v1/invoiceitems", pending="true", limit=100)["data"]
    assert sum(item["amount"] for item in pending) == found.quote.total_minor
    assert shop.findings(sub) == set()


def test_never_below_the_active_count(shop: Shop, sub: str) -> None:
    refused = seat_change.preview(
        shop.services, "org_1", Wanted(quantities={"voice": 4}), actor=ADA
    )
    assert isinstance(refused, Refuse)
    assert refused.code == "below_active"
    assert refused.message == "5 active Voice members: remove members first, then reduce"


def test_a_checkout_that_nobody_paid_is_no_second_subscription(shop: Shop, sub: str) -> None:
    customer = str(shop.sandbox.get(f"/v1/subscriptions/{sub}")["customer"])
    unpaid = shop.subscribe(customer, {"base": 3}, payment_behavior="default_incomplete")
    shop.settle(unpaid)
    assert shop.findings(sub) | shop.findings(unpaid) == set()
    done = applied(shop, previewed(shop, Wanted(quantities={"voice": 6})))
    assert isinstance(done, Applied)
    assert shop.quantities(sub) == {"base": 10, "voice": 6}


def test_a_preview_binds_to_what_it_saw(shop: Shop, sub: str) -> None:
    wanted = Wanted(quantities={"voice": 7})
    found = previewed(shop, wanted)
    shop.activate("org_1", "base", 9)
    refused = applied(shop, found)
    assert isinstance(refused, Stale)
    assert refused.refusal.code == "preview_stale"
    assert shop.writes(sub) == 0


def test_an_edit_in_the_dashboard_between_preview_and_save(shop: Shop, sub: str) -> None:
    wanted = Wanted(quantities={"voice": 7})
    found = previewed(shop, wanted)
    shop.edit(sub, "voice", 6)
    refused = applied(shop, found)
    assert isinstance(refused, Stale)
    assert refused.refusal.code == "preview_stale"
    assert shop.quantities(sub)["voice"] == 6


def test_a_declined_card_changes_nothing_and_says_so(shop: Shop, sub: str) -> None:
    """money.paid_for."""
    wanted = Wanted(quantities={"voice": 7})
    found = previewed(shop, wanted)
    customer = shop.sandbox.get(f"/v1/subscriptions/{sub}")["customer"]
    shop.sandbox.control("/declines", {"customer": customer, "code": "card_declined"})
    refused = applied(shop, found)
    assert isinstance(refused, Refuse)
    assert refused.code == "payment_declined"
    assert "nothing was changed" in refused.message
    assert shop.quantities(sub)["voice"] == 5
    assert shop.invoices(sub, "subscription_update") == []
    assert shop.findings(sub) == {"payment_declined"}
    shop.settle(sub)
    assert shop.findings(sub) == set()


def test_monthly_to_annual_switches_every_item_in_one_update(shop: Shop, sub: str) -> None:
    wanted = Wanted(interval="year")
    found = previewed(shop, wanted)
    # Ten at 324.00 and five at 540.00 a year.
    assert found.quote.plan_total_minor == 10 * 32400 + 5 * 54000
    assert found.quote.due_now_minor > 0
    done = applied(shop, found)
    assert isinstance(done, Applied)
    items = shop.sandbox.get(f"/v1/subscriptions/{sub}")["items"]["data"]
    assert {item["price"]["recurring"]["interval"] for item in items} == {"year"}
    assert shop.quantities(sub) == {"base": 10, "voice": 5}
    (invoice,) = shop.invoices(sub, "subscription_update")
    assert invoice["total"] == found.quote.total_minor
    assert shop.findings(sub) == set()


def test_seats_and_members_convert_in_one_operation_when_both_pools_are_full(shop: Shop) -> None:
    customer = shop.organization(base=2, voice=1)
    sub = shop.subscribe(customer, {"base": 2, "voice": 1})
    shop.settle(sub)
    move = Move(member_id="member_base_active_0", from_seat_type="base", to_seat_type="voice")
    wanted = Wanted(quantities={"base": 1, "voice": 2}, moves=(move,))
    done = applied(shop, previewed(shop, wanted))
    assert isinstance(done, Applied), done
    assert shop.quantities(sub) == {"base": 1, "voice": 2}
    with shop.services.sessions() as session:
        counts = shop.services.roster.counts(session, "org_1").by_seat_type
    assert counts == {"base": 1, "voice": 2}


def converting(shop: Shop) -> tuple[str, Preview]:
    """Five Base seats and a Voice seat, all taken; one of Base becomes one of Voice."""
    customer = shop.organization(base=5, voice=1)
    sub = shop.subscribe(customer, {"base": 5, "voice": 1})
    shop.settle(sub)
    move = Move(member_id="member_base_active_0", from_seat_type="base", to_seat_type="voice")
    return sub, previewed(shop, Wanted(quantities={"base": 4, "voice": 2}, moves=(move,)))


def another_took_the_seat(shop: Shop) -> None:
    """Whoever was to move is gone, and somebody else is in the seat."""
    with shop.services.sessions.begin() as session:
        leaves = roster.member(session, "org_1", "member_base_active_0")
        assert leaves
        roster.write_member(session, replace(leaves, status="removed"))
        add_member(session, "org_1", "late", seat_type="base", status="active")


def test_who_moves_is_looked_at_again_where_the_floor_is(shop: Shop) -> None:
    """B5, B7: without the move five are left in Base, on four seats."""
    sub, found = converting(shop)

    class Meanwhile(StripeApi):
        def preview(self, *args: Any) -> StripeInvoice:
            shown = super().preview(*args)
            another_took_the_seat(shop)
            return shown

    api = Meanwhile(shop.services.settings, Unbudgeted())
    late = applied(replace(shop, services=replace(shop.services, stripe=api)), found)
    assert isinstance(late, Stale), late
    assert late.refusal.code == "preview_stale"
    assert isinstance(late.fresh, Refuse)
    assert late.fresh.code == "invalid_move"
    assert (shop.quantities(sub), shop.writes(sub)) == ({"base": 5, "voice": 1}, 0)


def test_who_moves_is_looked_at_again_before_it_is_sent_again(shop: Shop) -> None:
    """B5, B7: the host imported its roster while the first call was on its way to nowhere."""
    sub, found = converting(shop)

    class Lost(StripeApi):
        def update_subscription(self, *args: Any, **named: Any) -> Any:
            raise OutcomeUnknown("lost")

    api = Lost(shop.services.settings, Unbudgeted())
    with pytest.raises(OutcomeUnknown):
        applied(replace(shop, services=replace(shop.services, stripe=api)), found)
    another_took_the_seat(shop)
    assert "4 seats for 5 active" in shop.settle(sub).line
    assert [made.state for made in shop.adjustments(sub)] == ["failed"]
    assert (shop.quantities(sub), shop.writes(sub)) == ({"base": 5, "voice": 1}, 0)


def test_what_is_already_so_needs_no_write(shop: Shop, sub: str) -> None:
    found = seat_change.preview(shop.services, "org_1", Wanted(quantities={"voice": 5}), actor=ADA)
    assert isinstance(found, Keep)


def test_an_item_the_subscription_does_not_have_yet_is_added(shop: Shop) -> None:
    customer = shop.organization(base=2)
    sub = shop.subscribe(customer, {"base": 2})
    shop.settle(sub)
    wanted = Wanted(quantities={"voice": 3})
    done = applied(shop, previewed(shop, wanted))
    assert isinstance(done, Applied), done
    assert shop.quantities(sub) == {"base": 2, "voice": 3}
    assert shop.settle(sub).adjustment_id is None
    assert {name: seat.quantity for name, seat in shop.seats(sub).items()} == {
        "base": 2,
        "voice": 3,
    }
    assert shop.findings(sub) == set()


def test_a_change_into_an_invoice_of_many_pending_lines_is_still_compared(
    shop: Shop, sub: str
) -> None:
    customer = shop.sandbox.get(f"/v1/subscriptions/{sub}")["customer"]
    for number in range(12):
        shop.sandbox.post(
            "/v1/invoiceitems",
            {"customer": customer, "subscription": sub, "amount": 100 + number, "currency": "usd"},
        )
    for wanted in (Wanted(quantities={"base": 9}), Wanted(quantities={"voice": 7})):
        done = applied(shop, previewed(shop, wanted))
        assert isinstance(done, Applied), done
        assert done.adjustment is not None
        assert done.adjustment.preview is not None
        assert not done.adjustment.preview["whole"]
        assert len(done.adjustment.preview["lines"]) == 2
        assert shop.findings(sub) == set()
    assert len(shop.invoices(sub, "subscription_update")) == 1
    ledger = next(check for check in checks.run(shop.services) if "ledger" in check.name)
    assert ledger.ok, ledger.detail


def test_a_preview_expires(shop: Shop, sub: str) -> None:
    """A second before half an hour it is applied, and charged as it was shown."""
    found = previewed(shop, Wanted(quantities={"voice": 7}))
    late = shop.at(found.expires_at)
    expired = applied(late, found)
    assert isinstance(expired, Stale)
    assert expired.refusal.code == "preview_expired"
    assert isinstance(expired.fresh, Preview)
    assert shop.writes(sub) == 0
    done = applied(shop.at(found.expires_at - timedelta(seconds=1)), found)
    assert isinstance(done, Applied), done
    assert done.adjustment is not None
    assert done.adjustment.total_minor == found.quote.total_minor


def test_a_preview_does_not_outlast_its_billing_period(shop: Shop) -> None:
    start = 1_775_044_800
    clock = str(shop.sandbox.post("/v1/test_helpers/test_clocks", {"frozen_time": start})["id"])
    sub = shop.subscribe(shop.organization(voice=1, test_clock=clock), {"voice": 2})
    shop.settle(sub)
    items = shop.sandbox.get(f"/v1/subscriptions/{sub}")["items"]["data"]
    end = int(items[0]["current_period_end"])
    path = f"/v1/test_helpers/test_clocks/{clock}/advance"
    shop.sandbox.post(path, {"frozen_time": end - 60})
    found = previewed(shop, Wanted(quantities={"voice": 4}))
    shop.sandbox.post(path, {"frozen_time": end + 60})
    expired = applied(shop, found)
    assert isinstance(expired, Stale)
    assert expired.refusal.code == "preview_expired"
    assert expired.refusal.message == "A new billing period has begun: nothing was changed"
    assert shop.writes(sub) == 0


def test_a_credit_that_came_in_between_changes_what_is_due(shop: Shop, sub: str) -> None:
    """Due now is part of what was shown: a preview that promised another amount is stale."""
    found = previewed(shop, Wanted(quantities={"voice": 7}))
    customer = shop.sandbox.get(f"/v1/subscriptions/{sub}")["customer"]
    path = f"/v1/customers/{customer}/balance_transactions"
    shop.sandbox.post(path, {"amount": -300, "currency": "usd"})
    stale = applied(shop, found)
    assert isinstance(stale, Stale)
    assert isinstance(stale.fresh, Preview)
    assert stale.fresh.quote.due_now_minor == found.quote.due_now_minor - 300
    assert stale.fresh.quote.starting_balance_minor == -300


def test_members_move_without_stripe_where_there_is_room(shop: Shop) -> None:
    """B6: nothing is written to Stripe, and the room is checked again when it is saved."""
    customer = shop.organization(base=2, voice=1)
    sub = shop.subscribe(customer, {"base": 2, "voice": 2})
    shop.settle(sub)
    move = Move(member_id="member_base_active_0", from_seat_type="base", to_seat_type="voice")
    found = previewed(shop, Wanted(moves=(move,)))
    assert found.quote.words.startswith("Change: 1 member moved.")
    done = applied(shop, found)
    assert isinstance(done, Applied)
    assert applied(shop, found) == done
    with shop.services.sessions() as session:
        counts = shop.services.roster.counts(session, "org_1").by_seat_type
    assert counts == {"base": 1, "voice": 2}
    assert shop.writes(sub) == 0


@pytest.mark.parametrize(
    ("member_id", "to", "code"),
    [
        ("nobody", "voice", "invalid_move"),
        ("member_voice_active_0", "voice", "invalid_move"),
        ("member_base_active_0", "phone", "seat_type_not_allowed"),
    ],
)
def test_who_cannot_move(shop: Shop, sub: str, member_id: str, to: str, code: str) -> None:
    move = Move(member_id=member_id, from_seat_type="base", to_seat_type=to)
    wanted = Wanted(quantities={"voice": 7}, moves=(move,))
    refused = seat_change.preview(shop.services, "org_1", wanted, actor=ADA)
    assert isinstance(refused, Refuse)
    assert refused.code == code


def test_a_member_moves_once_in_a_save(shop: Shop, sub: str) -> None:
    move = Move(member_id="member_base_active_0", from_seat_type="base", to_seat_type="voice")
    wanted = Wanted(quantities={"voice": 7}, moves=(move, move))
    refused = seat_change.preview(shop.services, "org_1", wanted, actor=ADA)
    assert isinstance(refused, Refuse)
    assert refused.code == "invalid_move"


def test_a_restricted_organization_buys_nothing_and_may_reduce(shop: Shop, sub: str) -> None:
    """C8: the grace of an Enterprise review is over."""
    with shop.services.sessions.begin() as session:
        session.execute(
            insert(reviews).values(
                organization_id="org_1",
                kind="enterprise",
                reason="over",
                restricted_at=shop.services.clock(),
            )
        )
    refused = seat_change.preview(
        shop.services, "org_1", Wanted(quantities={"voice": 7}), actor=ADA
    )
    assert isinstance(refused, Refuse)
    assert refused.code == "organization_restricted"
    assert isinstance(applied(shop, previewed(shop, Wanted(quantities={"base": 9}))), Applied)


def test_the_interval_of_own_seats_is_each_members_own(shop: Shop) -> None:
    shop.organization(plan="workspace_pro")
    refused = seat_change.preview(shop.services, "org_1", Wanted(interval="year"), actor=ADA)
    assert isinstance(refused, Refuse)
    assert refused.code == "own_seat"
    assert "billing portal" in refused.remedies[0]


def test_previews_that_nobody_applied_are_not_kept(shop: Shop, sub: str) -> None:
    kept, gone = (previewed(shop, Wanted(quantities={"voice": count})) for count in (6, 7))
    assert isinstance(applied(shop, kept), Applied)
    with shop.services.sessions.begin() as session:
        assert previews.prune(session, before=gone.expires_at, limit=10) == 0
        later = gone.expires_at + timedelta(seconds=1)
        assert previews.prune(session, before=later, limit=10) == 1
        assert previews.by_id(session, "org_1", gone.id) is None
        assert previews.by_id(session, "org_1", kept.id) is not None
