"""An agency buys Base and Voice seats: from the first invite to the invoices of three months.

A Base seat is 30.00 a month, a Voice seat 50.00; a year costs twelve months less a tenth.
"""

from reconcile.actor import Actor
from reconcile.members import membership
from reconcile.members.joining import Done
from reconcile.nights import checks
from reconcile.policy.seat_change import Move, Wanted
from reconcile.store import roster
from reconcile.store.roster import AutoAdd
from tests.support.shop import Shop
from tests.support.story import DAY_S, ORGANIZATION, START, Story, begun, refusal

ADA = Actor("member:ada")


def test_an_agency_from_the_first_invite_to_the_invoice(shop: Shop) -> None:
    agency = begun(shop, "agency")
    agency.enter("ada", role="admin", seat_type="base")
    sub = shop.subscribe(agency.customer, {"base": 3, "voice": 2})
    shop.settle(sub)

    members_take_the_seats_that_are_bought(agency, sub)
    agency.advance(START + 15 * DAY_S)
    auto_add_buys_as_members_arrive(agency, sub)
    one_save_adds_and_removes(agency, sub)
    nothing_goes_below_the_active_members(agency)
    seats_and_their_members_convert_together(agency, sub)
    what_is_removed_is_credited_on_the_next_invoice(agency, sub)
    a_year_and_back(agency, sub)
    an_edit_in_the_dashboard_is_raised_back(agency, sub)

    # The books agree: every intent has its outcome, every charge its invoice.
    told = [check for check in checks.run(shop.services) if "event" not in check.name]
    assert [check.detail for check in told if not check.ok] == []


def members_take_the_seats_that_are_bought(agency: Story, sub: str) -> None:
    """Invites reserve nothing; whoever accepts first takes the free seat (B12)."""
    agency.invite("bo", seat_type="base")
    for voice in ("cy", "di", "eve"):
        # Two are free and three are asked: it is decided when they accept.
        agency.invite(voice, seat_type="voice")
    agency.joins("bo", "cy", "di")
    refused = refusal(agency.join("eve"))
    assert refused.message == "No free Voice seat: 2 active, 2 bought"
    assert refused.remedies == (
        "buy a Voice seat",
        "remove a Voice member",
        "turn on Auto-Add Seats",
    )
    assert agency.shop.writes(sub) == 0


def auto_add_buys_as_members_arrive(agency: Story, sub: str) -> None:
    """Half of the month is left: a seat costs 25.00, up to the ceiling (B2, B15)."""
    for voice in ("fay", "gus", "hal"):
        agency.enter(voice, seat_type="voice", status="pending")
    with agency.shop.services.sessions.begin() as session:
        allowed = AutoAdd(seat_type="voice", enabled=True, ceiling_quantity=4, ceiling_minor=None)
        roster.write_auto_add(session, ORGANIZATION, [allowed])
    agency.joins("eve", "fay")
    assert refusal(agency.join("gus")).message == (
        "No more Voice seats are added: the Auto-Add ceiling of 4 is reached"
    )
    assert agency.shop.quantities(sub) == {"base": 3, "voice": 4}
    assert totals(agency, sub) == [2500, 2500]


def one_save_adds_and_removes(agency: Story, sub: str) -> None:
    """It is previewed in words, netted by Stripe, and billed as it was previewed (B1, B4)."""
    wanted = Wanted(quantities={"voice": 6, "base": 2})
    seen = agency.ask(wanted)
    assert seen.quote.words == (
        "Change: +2 Voice seats, -1 Base seat. "
        "New plan total: USD 360.00/month (+USD 70.00/month). "
        "Stripe will bill USD 35.00 for the rest of this cycle, USD 35.00 due now."
    )
    agency.save(seen)
    assert agency.shop.quantities(sub) == {"base": 2, "voice": 6}
    invoice = agency.shop.invoices(sub, "subscription_update")[-1]
    assert (invoice["total"], invoice["amount_paid"]) == (
        seen.quote.total_minor,
        seen.quote.due_now_minor,
    )
    assert (invoice["total"], invoice["amount_paid"]) == (3500, 3500)
    agency.joins("gus", "hal")


def nothing_goes_below_the_active_members(agency: Story) -> None:
    """The refusal names the seats, the count and the way out (B5)."""
    refused = agency.ask_in_vain(Wanted(quantities={"voice": 5}))
    assert refused.message == "6 active Voice members: remove members first, then reduce"


def seats_and_their_members_convert_together(agency: Story, sub: str) -> None:
    """Both pools are full, so neither step works alone (B6, B7)."""
    alone = membership.move_seat(
        agency.shop.services, ORGANIZATION, "bo", seat_type="voice", actor=ADA
    )
    assert refusal(alone).code == "no_free_seat"
    assert agency.ask_in_vain(Wanted(quantities={"base": 1})).code == "below_active"

    move = Move(member_id="bo", from_seat_type="base", to_seat_type="voice")
    wanted = Wanted(quantities={"base": 1, "voice": 7}, moves=(move,))
    seen = agency.ask(wanted)
    agency.save(seen)
    assert agency.shop.quantities(sub) == {"base": 1, "voice": 7}
    assert agency.standing_of("bo") == ("member", "voice", "active")
    assert totals(agency, sub)[-1] == seen.quote.total_minor == 1000


def what_is_removed_is_credited_on_the_next_invoice(agency: Story, sub: str) -> None:
    """A member leaves, then the seat goes: two actions, and no refund (B3, B14)."""
    left = membership.remove(agency.shop.services, ORGANIZATION, "hal", actor=ADA)
    assert left == Done(line="removed; the seat is free, the quantity stays")
    assert agency.shop.quantities(sub)["voice"] == 7

    billed = totals(agency, sub)
    wanted = Wanted(quantities={"voice": 6})
    seen = agency.ask(wanted)
    assert (seen.quote.total_minor, seen.quote.due_now_minor) == (-2500, 0)
    assert seen.quote.words.endswith(
        "USD 25.00 is credited on the next invoice; nothing is refunded."
    )
    agency.save(seen)
    assert totals(agency, sub) == billed

    # One Base and six Voice seats for May, less the half month of April that was not used.
    renewal = agency.renew(sub)
    assert renewal["total"] == 3000 + 6 * 5000 - 2500
    assert (renewal["status"], renewal["amount_paid"]) == ("paid", renewal["total"])


def a_year_and_back(agency: Story, sub: str) -> None:
    """Every seat switches in one update; what the year leaves over pays the months (B10)."""
    year = Wanted(interval="year")
    seen = agency.ask(year)
    assert seen.quote.plan_total_minor == 32400 + 6 * 54000
    assert 0 < seen.quote.due_now_minor == seen.quote.total_minor < seen.quote.plan_total_minor
    agency.wait(29 * 60)  # what was seen is what is paid, however long one thinks about it
    agency.save(seen)
    assert totals(agency, sub)[-1] == seen.quote.total_minor

    month = Wanted(interval="month")
    seen = agency.ask(month)
    assert seen.quote.due_now_minor == 0
    assert seen.quote.total_minor < 0
    agency.save(seen)
    assert totals(agency, sub)[-1] == seen.quote.total_minor
    assert balance(agency) == seen.quote.total_minor
    assert agency.shop.quantities(sub) == {"base": 1, "voice": 6}

    renewal = agency.renew(sub)
    assert (renewal["total"], renewal["amount_due"]) == (33000, 0)
    assert balance(agency) == seen.quote.total_minor + 33000


def an_edit_in_the_dashboard_is_raised_back(agency: Story, sub: str) -> None:
    """Somebody lowers Voice to fewer than are active; the next look raises it back, once."""
    before = agency.shop.writes(sub)
    agency.shop.edit(sub, "voice", 2)
    assert "raise Voice back 2 -> 6, 6 are active" in agency.shop.settle(sub).line
    assert agency.shop.quantities(sub) == {"base": 1, "voice": 6}
    agency.shop.settle(sub)
    assert agency.shop.writes(sub) == before + 1
    assert agency.shop.findings(sub) == set()


def totals(agency: Story, sub: str) -> list[int]:
    """What each change of seats was invoiced, oldest first."""
    return [invoice["total"] for invoice in agency.shop.invoices(sub, "subscription_update")]


def balance(agency: Story) -> int:
    """The customer's balance; below zero is credit."""
    return int(agency.shop.sandbox.get(f"/v1/customers/{agency.customer}")["balance"])
