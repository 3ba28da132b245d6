"""An agency buys Base and Voice seats: from the first invite to the invoices of three months.

A Base seat is 30.00 a month, a Voice seat 50.00; a year costs twelve months less a tenth. All of it
over HTTP: the host application asks the API, the customer buys in Stripe, webhooks come in.
"""

import pytest

from tests.support.installation import DAY_S, START, Installation
from tests.support.story import Story, begun, refused

# Real processes on a machine that may be busy.
pytestmark = pytest.mark.timeout(400)


def test_an_agency_from_the_first_invite_to_the_invoice(here: Installation) -> None:
    agency = begun(here, "harbour", "agency")
    sub = agency.subscribes({"base": 3, "voice": 2}, plan="agency")
    agency.invite("ada", role="admin", seat_type="base").ok()
    agency.joins("ada")

    members_take_the_seats_that_are_bought(agency, sub)
    here.advance(START + 15 * DAY_S)
    auto_add_buys_as_members_arrive(agency, sub)
    one_save_adds_and_removes(agency, sub)
    nothing_goes_below_the_active_members(agency)
    seats_and_their_members_convert_together(agency, sub)
    two_members_swap(agency)
    an_admin_hands_over_in_two_steps(agency)
    what_is_removed_is_credited_on_the_next_invoice(agency, sub)
    a_year_and_back(agency, sub)
    the_card_is_the_portals(agency)
    an_edit_in_the_dashboard_is_raised_back(agency, sub)

    here.the_books_agree()


def members_take_the_seats_that_are_bought(agency: Story, sub: str) -> None:
    """Invites reserve nothing; whoever accepts first takes the free seat (B12)."""
    agency.invite("bo", seat_type="base", by="ada").ok()
    for voice in ("cy", "di", "eve"):
        # Two are free and three are asked: it is decided when they accept.
        agency.invite(voice, seat_type="voice", by="ada").ok()
    agency.accept("eve").ok()
    agency.joins("bo", "cy", "di")
    full = refused(agency.sign_in("eve"), "no_free_seat")
    assert full["detail"] == "No free Voice seat: 2 active, 2 bought"
    assert full["remedies"] == [
        "buy a Voice seat",
        "remove a Voice member",
        "turn on Auto-Add Seats",
    ]

    agency.do("block", "di", by="ada").ok()
    assert agency.seats("voice")["free"] == 1
    agency.do("unblock", "di", by="ada").ok()
    assert agency.seats("voice") | {"auto_add": None} == {
        "seat_type": "voice",
        "label": "Voice",
        "bought": 2,
        "in_stripe": 2,
        "active": 2,
        "capacity": 2,
        "free": 0,
        "minimum": 0,
        "ceiling": 500,
        "included": None,
        "hard_cap": None,
        "auto_add": None,
    }
    assert agency.shop.writes(sub) == 0
    assert "seats.limit_reached" in agency.notices()


def auto_add_buys_as_members_arrive(agency: Story, sub: str) -> None:
    """Half of the month is left: a seat costs 25.00, up to the ceiling (B2, B15)."""
    for voice in ("fay", "gus", "hal"):
        refused(agency.invite(voice, seat_type="voice", by="ada"), "no_free_seat")
    agency.put("/auto-add/voice", by="ada", enabled=True, ceiling_quantity=4).ok(200)
    for voice in ("fay", "gus", "hal"):
        agency.invite(voice, seat_type="voice", by="ada").ok()
        agency.accept(voice).ok()
    agency.sign_in("eve").ok(200)
    agency.sign_in("fay").ok(200)
    ceiling = refused(agency.sign_in("gus"), "auto_add_limit")
    assert (
        ceiling["detail"] == "No more Voice seats are added: the Auto-Add ceiling of 4 is reached"
    )
    assert agency.shop.quantities(sub) == {"base": 3, "voice": 4}
    assert agency.totals(sub) == [2500, 2500]
    told = agency.notices()
    assert told.count("auto_add.happened") == 2
    assert told.count("auto_add.ceiling_reached") == 1


def one_save_adds_and_removes(agency: Story, sub: str) -> None:
    """It is previewed in words, netted by Stripe, and billed as it was previewed (B1, B4)."""
    seen = agency.preview(quantities={"voice": 6, "base": 2}).ok()
    assert seen["words"] == (
        "Change: +2 Voice seats, -1 Base seat. "
        "New plan total: USD 360.00/month (+USD 70.00/month). "
        "Stripe will bill USD 35.00 for the rest of this cycle, USD 35.00 due now."
    )
    agency.save(seen)
    assert agency.shop.quantities(sub) == {"base": 2, "voice": 6}
    invoice = agency.shop.invoices(sub, "subscription_update")[-1]
    assert (invoice["total"], invoice["amount_paid"]) == (
        seen["total_minor"],
        seen["due_now_minor"],
    )
    assert (invoice["total"], invoice["amount_paid"]) == (3500, 3500)
    agency.sign_in("gus").ok(200)
    agency.sign_in("hal").ok(200)


def nothing_goes_below_the_active_members(agency: Story) -> None:
    """The refusal names the seats, the count and the way out (B5)."""
    below = refused(agency.preview(quantities={"voice": 5}), "below_active")
    assert below["detail"] == "6 active Voice members: remove members first, then reduce"


def seats_and_their_members_convert_together(agency: Story, sub: str) -> None:
    """Both pools are full, so neither step works alone (B6, B7)."""
    alone = agency.do("seat-type", "bo", by="ada", seat_type="voice")
    refused(alone, "no_free_seat")
    refused(agency.preview(quantities={"base": 1}), "below_active")

    move = {"member_id": "bo", "to_seat_type": "voice"}
    seen = agency.preview(quantities={"base": 1, "voice": 7}, moves=[move]).ok()
    agency.save(seen)
    assert agency.shop.quantities(sub) == {"base": 1, "voice": 7}
    assert agency.member("bo") == ("member", "voice", "active")
    assert agency.totals(sub)[-1] == seen["total_minor"] == 1000


def two_members_swap(agency: Story) -> None:
    """Full pools do not stand in the way of two who change places."""
    agency.ask("/swaps", by="ada", member_id="ada", with_member_id="bo", seat_type="voice").ok()
    assert agency.member("ada") == ("admin", "voice", "active")
    assert agency.member("bo") == ("member", "base", "active")


def an_admin_hands_over_in_two_steps(agency: Story) -> None:
    """Somebody has to be an admin at every moment (B8, B9)."""
    early = agency.do("role", "ada", by="ada", role="member")
    refused(early, "last_admin")
    agency.do("role", "bo", by="ada", role="admin").ok()
    agency.do("role", "ada", by="bo", role="member").ok()
    assert agency.audited()[-2:] == [
        ("member:ada", "member.role_changed", "bo"),
        ("member:bo", "member.role_changed", "ada"),
    ]


def what_is_removed_is_credited_on_the_next_invoice(agency: Story, sub: str) -> None:
    """A member leaves, then the seat goes: two actions, and no refund (B3, B13, B14)."""
    agency.do("remove", "hal", by="bo").ok()
    assert agency.seats("voice")["bought"] == 7
    assert agency.shop.quantities(sub)["voice"] == 7

    billed = agency.totals(sub)
    suggested = agency.get("/seat-suggestion")
    assert (suggested["unused"], suggested["quantities"]) == ({"voice": 1}, {"voice": 6})
    seen = agency.preview(by="bo", quantities=suggested["quantities"]).ok()
    assert (seen["total_minor"], seen["due_now_minor"]) == (-2500, 0)
    assert seen["words"].endswith("USD 25.00 is credited on the next invoice; nothing is refunded.")
    agency.save(seen, by="bo")
    assert agency.totals(sub) == billed

    # One Base and six Voice seats for May, less the half month of April that was not used.
    renewal = agency.here.renew(sub)
    assert renewal["total"] == 3000 + 6 * 5000 - 2500
    assert (renewal["status"], renewal["amount_paid"]) == ("paid", renewal["total"])


def a_year_and_back(agency: Story, sub: str) -> None:
    """Every seat switches in one update; what the year leaves over pays the months (B10)."""
    seen = agency.ask("/interval-switches/preview", by="bo", interval="year").ok()
    assert seen["plan_total_minor"] == 32400 + 6 * 54000
    assert 0 < seen["due_now_minor"] == seen["total_minor"] < seen["plan_total_minor"]
    agency.here.wait(20 * 60)  # what was seen is what is paid, however long one thinks about it
    agency.save(seen, by="bo")
    assert agency.totals(sub)[-1] == seen["total_minor"]

    seen = agency.ask("/interval-switches/preview", by="bo", interval="month").ok()
    assert seen["due_now_minor"] == 0
    assert seen["total_minor"] < 0
    agency.save(seen, by="bo")
    assert agency.totals(sub)[-1] == seen["total_minor"]
    assert balance(agency) == seen["total_minor"]
    assert agency.shop.quantities(sub) == {"base": 1, "voice": 6}

    renewal = agency.here.renew(sub)
    assert (renewal["total"], renewal["amount_due"]) == (33000, 0)
    assert balance(agency) == seen["total_minor"] + 33000


def the_card_is_the_portals(agency: Story) -> None:
    """Cards and invoices are Stripe's own pages (B11)."""
    opened = agency.ask("/portal-session", by="bo", return_url="https://app.example/billing").ok()
    assert opened["url"].startswith("http")


def an_edit_in_the_dashboard_is_raised_back(agency: Story, sub: str) -> None:
    """Somebody lowers Voice to fewer than are active; the webhook raises it back, once."""
    before = agency.shop.writes(sub)
    agency.shop.edit(sub, "voice", 2)
    agency.here.settle_down()
    assert agency.shop.quantities(sub) == {"base": 1, "voice": 6}
    assert agency.shop.writes(sub) == before + 1
    assert agency.findings() == set()
    last = agency.listed("adjustments")[0]
    assert "raise Voice back 2 -> 6, 6 are active" in last["reason"]
    assert last["invoice_id"] == agency.shop.invoices(sub, "subscription_update")[-1]["id"]


def balance(agency: Story) -> int:
    """The customer's balance; below zero is credit."""
    return int(agency.here.sandbox.get(f"/v1/customers/{agency.customer}")["balance"])
