"""A seat of one's own: paid on Stripe's page, joined by Stripe's word, told when it lapses."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import requests
from sqlalchemy import insert, select

from reconcile.actor import Actor
from reconcile.catalog import NoSuchPrice
from reconcile.members import own_seats
from reconcile.members.activation import unblock
from reconcile.members.inviting import accept, invite
from reconcile.members.joining import Done
from reconcile.members.membership import block
from reconcile.members.own_seats import Asked, Checkout
from reconcile.operating import pausing
from reconcile.policy.values import Refuse
from reconcile.settling.work import work_off
from reconcile.store import audit, roster
from reconcile.tables import notices, seats, subscriptions
from tests.support.roster import add_member
from tests.support.sandbox import API_KEY
from tests.support.shop import Shop

ANN = Actor("member:ann")
BOB = Actor("member:bob")
ASKED = Asked(success_url="https://app.example/done", cancel_url="https://app.example/back")


@pytest.fixture
def workspace(shop: Shop) -> str:
    """Ann administers a Pro workspace and has paid; Bob was invited by her and has accepted."""
    customer = shop.organization("org_1", plan="workspace_pro")
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "ann", role="admin", seat_type="pro")
    buys(shop, customer, "ann")
    done = invite(shop.services, "org_1", "bob", role="member", email="bob@example.com", actor=ANN)
    assert isinstance(done, Done)
    accept(shop.services, "org_1", "bob", actor=BOB)
    return customer


def buys(shop: Shop, customer: str, member_id: str, plan: str = "workspace_pro") -> str:
    bought = shop.subscribe(customer, {"pro": 1}, plan=plan, **{"metadata[member_id]": member_id})
    shop.settle(bought)
    return bought


def opens(shop: Shop, member_id: str = "bob", asked: Asked = ASKED, by: Actor = BOB) -> Checkout:
    made = own_seats.check_out(shop.services, "org_1", member_id, asked, actor=by)
    assert isinstance(made, Checkout), made
    return made


def refused(shop: Shop, member_id: str = "bob", asked: Asked = ASKED, by: Actor = BOB) -> str:
    made = own_seats.check_out(shop.services, "org_1", member_id, asked, actor=by)
    assert isinstance(made, Refuse), made
    return made.code


def pays(shop: Shop, page: Checkout) -> dict[str, Any]:
    return shop.sandbox.control(f"/checkout/{page.id}/complete")


def status(shop: Shop, member_id: str) -> str:
    with shop.services.sessions() as session:
        found = roster.member(session, "org_1", member_id)
    assert found
    return found.status


def told(shop: Shop, kind: str) -> list[Any]:
    with shop.services.sessions() as session:
        return list(session.execute(select(notices).where(notices.c.type == kind)))


def test_the_seat_joins_on_payment_and_not_on_the_click(shop: Shop, workspace: str) -> None:
    """A2."""
    page = opens(shop)
    session = shop.sandbox.get(f"/v1/checkout/sessions/{page.id}")
    assert (session["amount_total"], session["customer_email"]) == (9900, "bob@example.com")
    assert session["client_reference_id"] == "bob"
    assert status(shop, "bob") == "pending"

    paid = pays(shop, page)
    assert status(shop, "bob") == "pending"
    bought = shop.sandbox.get(f"/v1/subscriptions/{paid['subscription']}")
    assert bought["metadata"] == {"organization_id": "org_1", "member_id": "bob"}
    assert bought["customer"] != workspace
    shop.settle(paid["subscription"])
    assert status(shop, "bob") == "active"

    with shop.services.sessions() as session_:
        joined = audit.page(session_, subject="bob")[0]
    assert (joined.actor, joined.action) == ("trueup", "member.activated")
    assert joined.because == f"the seat is paid: {paid['subscription']}"
    assert [each.data["what"] for each in told(shop, "member.changed")] == ["activated"]
    assert shop.findings(paid["subscription"]) == shop.findings(None) == set()
    assert refused(shop) == "paid_already"


def test_two_pages_asked_for_at_once_leave_one_that_can_be_paid(shop: Shop, workspace: str) -> None:
    """A2: two clicks, two windows: paid in both, the seat would be paid twice."""
    slow = {"kind": "slow", "method": "POST", "path": "/v1/checkout/sessions", "delay_s": 0.2}
    shop.sandbox.control("/faults", slow | {"times": 4})
    with ThreadPoolExecutor(3) as pool:
        pages = [each.result() for each in [pool.submit(opens, shop) for _ in range(3)]]
    states = [shop.sandbox.get(f"/v1/checkout/sessions/{page.id}")["status"] for page in pages]
    assert sorted(states) == ["expired", "expired", "open"]


def test_no_second_page_while_stripe_has_not_told_of_the_payment(
    shop: Shop, workspace: str
) -> None:
    page = opens(shop)
    paid = pays(shop, page)
    assert refused(shop) == "in_progress"
    shop.settle(paid["subscription"])
    assert refused(shop) == "paid_already"


def test_no_second_page_when_stripe_tells_of_the_payment_meanwhile(
    shop: Shop, workspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A2: a worker records the payment after the seat was found unpaid, before the page is made."""
    paid = pays(shop, opens(shop))
    stripe = shop.services.stripe
    read = stripe.read

    def told_first(path: str, /, **params: Any) -> Any:
        if path.startswith("/v1/checkout/"):
            shop.settle(paid["subscription"])
        return read(path, **params)

    monkeypatch.setattr(stripe, "read", told_first)
    assert refused(shop) == "paid_already"


def test_the_organizations_customer_may_pay(shop: Shop, workspace: str) -> None:
    """A2: whoever the workspace decides."""
    asked = Asked(
        success_url=ASKED.success_url,
        cancel_url=ASKED.cancel_url,
        by_organization=True,
        interval="year",
    )
    paid = pays(shop, opens(shop, asked=asked, by=ANN))
    assert paid["customer"] == workspace
    assert paid["amount_total"] == 106920


def test_the_organizations_customer_pays_for_nobody_who_only_says_so(
    shop: Shop, workspace: str
) -> None:
    """Its card may be filled in on the page: an admin asks, or the host application itself."""
    asked = replace(ASKED, by_organization=True)
    assert refused(shop, asked=asked, by=BOB) == "not_allowed"
    assert opens(shop, asked=asked, by=Actor("token:tok_1")).url


def test_a_seat_is_not_paid_on_two_pages(shop: Shop, workspace: str) -> None:
    """Left open in another tab, the first one would be a second subscription."""
    first, second = opens(shop), opens(shop)
    with pytest.raises(requests.HTTPError):
        pays(shop, first)
    assert pays(shop, second)["payment_status"] == "paid"


def test_no_page_is_opened_while_writes_are_paused(shop: Shop, workspace: str) -> None:
    """A2: the kill switch is one for new subscriptions too."""
    pausing.pause(shop.services, "writes", "", Actor("cli:kim", because="wrong prices"))
    assert refused(shop) == "paused"
    pausing.resume(shop.services, "writes", "", Actor("cli:kim", because="mended"))
    opens(shop)


def test_a_page_is_only_for_whom_it_helps(shop: Shop, workspace: str) -> None:
    """A2, A3: whom the payment would not let in pays for nothing, month by month."""
    with shop.services.sessions.begin() as session:
        for name, at in (("cy", "removed"), ("di", "pending"), ("ed", "blocked")):
            add_member(session, "org_1", name, seat_type="pro", status=at)
        add_member(session, "org_1", "fay", role="admin", seat_type="pro", status="pending")
    assert refused(shop, "di", by=BOB) == "not_allowed"
    assert refused(shop, "cy", by=ANN) == "removed"
    assert refused(shop, "ed", by=Actor("member:ed")) == "blocked"
    assert refused(shop, "fay", by=Actor("member:fay")) == "single_admin"
    assert refused(shop, "ann", by=ANN) == "paid_already"
    with pytest.raises(NoSuchPrice):
        own_seats.check_out(
            shop.services,
            "org_1",
            "bob",
            Asked(success_url="https://a.example", cancel_url="https://a.example", currency="eur"),
            actor=BOB,
        )


def test_who_may_unblock_pays_for_the_seat_first(shop: Shop, workspace: str) -> None:
    """A2, B12: an unblock is an activation, and asks for a paid seat."""
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "ed", seat_type="pro", status="blocked")
    early = unblock(shop.services, "org_1", "ed", actor=ANN)
    assert isinstance(early, Refuse)
    assert early.code == "payment_needed"
    shop.settle(pays(shop, opens(shop, "ed", by=ANN))["subscription"])
    assert status(shop, "ed") == "blocked"
    assert isinstance(unblock(shop.services, "org_1", "ed", actor=ANN), Done)
    assert status(shop, "ed") == "active"


def test_on_other_plans_there_is_nothing_to_pay_alone(shop: Shop) -> None:
    shop.organization("org_1", plan="agency", voice=1)
    host = Actor("token:host")
    assert refused(shop, "member_voice_active_0", by=host) == "no_own_seat"


def test_a_seat_of_another_tier_lets_nobody_in(shop: Shop, workspace: str) -> None:
    """A5: the mixed tier is refused whole, and somebody is told."""
    bought = buys(shop, workspace, "bob", plan="workspace_business")
    assert status(shop, "bob") == "pending"
    # The price is not one of the plan's: that says it all, and nobody is let in on it.
    assert "item_wrong_price" in shop.findings(bought)
    assert refused(shop) == "tier_mixed"


@pytest.mark.parametrize("at", ["removed", "blocked"])
def test_a_payment_brings_nobody_back_who_was_taken_out(
    shop: Shop, workspace: str, at: str
) -> None:
    """A2, B12."""
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "cy", seat_type="pro", status=at)
    bought = buys(shop, workspace, "cy")
    assert status(shop, "cy") == at
    assert shop.findings(bought) == {"seat_without_member"}


def test_a_lapse_takes_the_seat_out_of_the_pool_and_tells_the_payer(shop: Shop) -> None:
    """A2, A4: past due, then canceled, is one lapse; the member may pay again."""
    clock = shop.sandbox.post("/v1/test_helpers/test_clocks", {"frozen_time": 1_775_044_800})
    customer = shop.organization("org_1", plan="workspace_pro", test_clock=clock["id"])
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "bob", role="admin", seat_type="pro", status="pending")
    bobs = buys(shop, customer, "bob")
    assert status(shop, "bob") == "active"
    shop.sandbox.control("/declines", {"customer": customer, "code": "card_declined"})
    shop.sandbox.post(
        f"/v1/test_helpers/test_clocks/{clock['id']}/advance",
        {"frozen_time": 1_775_044_800 + 31 * 86_400},
    )
    for _ in range(2):
        shop.settle(bobs)
    assert shop.sandbox.get(f"/v1/subscriptions/{bobs}")["status"] == "past_due"
    assert shop.findings(None) == {"member_without_seat"}
    assert refused(shop) == "past_due"
    requests.delete(
        f"{shop.sandbox.url}/v1/subscriptions/{bobs}", auth=(API_KEY, ""), timeout=9
    ).raise_for_status()
    shop.settle(bobs)
    (lapse,) = told(shop, "seat.lapsed")
    assert (lapse.audience, lapse.data) == (
        "payer",
        {"subscription_id": bobs, "member_id": "bob", "status": "past_due"},
    )
    assert status(shop, "bob") == "active"
    shop.settle(pays(shop, opens(shop))["subscription"])
    assert shop.findings(None) == set()


def test_a_dry_run_lets_nobody_in(shop: Shop, workspace: str) -> None:
    """A2: what does not write does not write members either."""
    paid = pays(shop, opens(shop))
    shop.settle(paid["subscription"], writes=False)
    assert status(shop, "bob") == "pending"


def calls(shop: Shop) -> int:
    return len(shop.sandbox.observe("/calls")["calls"])


def test_one_members_change_asks_stripe_for_one_seat_of_three_hundred(
    shop: Shop, workspace: str
) -> None:
    """A2: a workspace of any size is settled in the time of one seat."""
    bobs = buys(shop, workspace, "bob")
    alone = calls_for_a_change(shop)
    with shop.services.sessions.begin() as session:
        for number in range(300):  # Stripe knows none of these: who asked would be told so
            add_member(session, "org_1", f"m{number}", seat_type="pro")
            for table, key in ((subscriptions, "id"), (seats, "subscription_id")):
                row = session.execute(select(table).where(table.c[key] == bobs)).mappings().one()
                another = {key: f"sub_{number}"}
                if table is subscriptions:
                    another["member_id"] = f"m{number}"
                session.execute(insert(table).values({**row, **another}))
    started_at = time.monotonic()
    assert calls_for_a_change(shop) == alone == 1
    assert time.monotonic() - started_at < 30
    assert shop.findings(None) == set()


def calls_for_a_change(shop: Shop) -> int:
    """How often Stripe is asked when Bob is blocked and let in again, each worked off."""
    work_off(shop.services, "org:org_1")
    assert isinstance(block(shop.services, "org_1", "bob", actor=ANN), Done)
    assert isinstance(unblock(shop.services, "org_1", "bob", actor=ANN), Done)
    before = len(shop.sandbox.observe("/calls")["calls"])
    assert work_off(shop.services, "org:org_1").ended == "done"
    return len(shop.sandbox.observe("/calls")["calls"]) - before
