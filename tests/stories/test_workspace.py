"""A workspace: Pro, where every member pays for a seat of their own, then Business by contract.

A Pro seat is 99.00 a month, a Business seat 129.00. All of it over HTTP: the host application asks
the API, members pay on Stripe's pages, webhooks come in.
"""

import time
from typing import Any

import pytest

from tests.support.installation import Installation
from tests.support.story import Story, begun, refused

# Real processes on a machine that may be busy.
pytestmark = pytest.mark.timeout(400)


def test_a_pro_workspace_from_the_first_invite_to_the_invoice(here: Installation) -> None:
    # Credits are live in a period of today, so the clock starts now.
    here = here.at(int(time.time()))
    one_person_has_nobody_to_invite(here)
    workspace = begun(here, "lantern", "workspace_pro")
    workspace.invite("ann", role="admin").ok()
    workspace.accept("ann").ok()
    anns = pays_for_a_seat(workspace, "ann")

    bobs = a_seat_joins_on_payment(workspace)
    credits_pool(workspace, anns, bobs)
    a_pool_is_of_one_tier(workspace)
    the_one_admin_hands_over(workspace)
    a_lapse_is_told_and_paid_again(workspace, anns, bobs)
    here.the_books_agree()


def test_a_business_workspace_under_a_monthly_contract(here: Installation) -> None:
    workspace = begun(here, "summit", "workspace_business")
    sub = workspace.subscribes({"pro": 5}, plan="workspace_business")
    workspace.put("/contract", kind="monthly", **FIVE_SEATS).ok()
    workspace.invite("ann", role="admin").ok()
    workspace.joins("ann")
    for member_id in ("bob", "cy", "di", "eve"):
        workspace.invite(member_id, by="ann").ok()
    workspace.invite("fay", by="ann").ok()
    workspace.accept("fay").ok()
    workspace.joins("bob", "cy", "di", "eve")

    customers_do_not_change_a_contract(workspace, sub)
    an_approved_change_starts_with_the_next_cycle(workspace, sub)
    removals_are_the_contracts_to_allow(workspace, sub)
    here.the_books_agree()


FIVE_SEATS: dict[str, Any] = {
    "quantities": {"pro": 5},
    "starts_at": "2026-04-01T00:00:00Z",
    "ends_at": "2126-04-01T00:00:00Z",
    "because": "order 4700",
}


def one_person_has_nobody_to_invite(here: Installation) -> None:
    """Starter is for one (A1)."""
    solo = begun(here, "solo", "workspace_starter")
    solo.invite("sol", role="admin").ok()
    solo.joins("sol")
    alone = refused(solo.invite("tom", by="sol"), "individual_plan")
    assert alone["remedies"] == ["upgrade the plan"]


def pays_for_a_seat(workspace: Story, member_id: str) -> str:
    """The member completes Stripe's checkout, on the workspace's card; returns the subscription."""
    page = workspace.ask(
        f"/members/{member_id}/checkout",
        success_url="https://app.example/welcome",
        cancel_url="https://app.example/later",
        paid_by="organization",
    ).ok(201)
    paid = workspace.here.sandbox.control(f"/checkout/{page['id']}/complete")
    workspace.here.settle_down()
    return str(paid["subscription"])


def a_seat_joins_on_payment(workspace: Story) -> str:
    """The click alone lets nobody in (A2)."""
    workspace.invite("bob", by="ann").ok()
    workspace.accept("bob").ok()
    unpaid = refused(workspace.sign_in("bob"), "payment_needed")
    assert unpaid["detail"] == "The seat joins when it is paid"
    assert unpaid["remedies"] == ["complete the payment of the seat"]
    bobs = pays_for_a_seat(workspace, "bob")
    (invoice,) = workspace.shop.invoices(bobs)
    assert (invoice["total"], invoice["status"]) == (9900, "paid")
    assert workspace.member("bob") == ("member", "pro", "active")
    assert "member.changed" in workspace.notices()
    refused(workspace.preview(by="ann", quantities={"pro": 2}), "own_seat")
    return bobs


def credits_pool(workspace: Story, *paid: str) -> None:
    """Each paid seat grants once a period, whatever else is invoiced in it (A4)."""
    grants = workspace.get("/credits/grants")["data"]
    assert {grant["subscription_id"] for grant in grants} == set(paid)
    before = workspace.get("/credits")["pool"]
    assert before == sum(grant["credits"] for grant in grants) > 0
    stripe = workspace.here.sandbox
    for sub in paid:
        stripe.post(
            "/v1/invoiceitems",
            {"customer": workspace.customer, "subscription": sub, "amount": 500, "currency": "usd"},
        )
        made = stripe.post("/v1/invoices", {"subscription": sub, "customer": workspace.customer})
        stripe.post(f"/v1/invoices/{made['id']}/pay")
    workspace.here.settle_down()
    assert workspace.get("/credits")["pool"] == before


def a_pool_is_of_one_tier(workspace: Story) -> None:
    """A Business seat does not join a Pro pool, although it is paid (A5)."""
    workspace.invite("cy", by="ann").ok()
    workspace.subscribes({"pro": 1}, plan="workspace_business", **{"metadata[member_id]": "cy"})
    refused(workspace.sign_in("cy"), "tier_mixed")
    assert workspace.member("cy") == ("member", "pro", "invited")


def the_one_admin_hands_over(workspace: Story) -> None:
    """There is exactly one admin, before and after, in one audited operation (A3)."""
    refused(workspace.invite("dan", by="bob"), "not_allowed")
    second = refused(workspace.do("role", "bob", by="ann", role="admin"), "single_admin")
    assert second["detail"] == "The plan has exactly one admin, changed in one step"
    workspace.ask(
        "/transfers", by="ann", kind="admin", from_member_id="ann", to_member_id="bob"
    ).ok()
    assert workspace.member("bob") == ("admin", "pro", "active")
    assert workspace.member("ann") == ("member", "pro", "active")
    assert ("member:ann", "admin.transferred") in [entry[:2] for entry in workspace.audited()]


def a_lapse_is_told_and_paid_again(workspace: Story, anns: str, bobs: str) -> None:
    """Ann's seat renews and Bob's does not: he is out of the pool until he pays again (A4)."""
    here = workspace.here
    here.sandbox.post(f"/v1/subscriptions/{bobs}", {"cancel_at_period_end": "true"})
    renewal = here.renew(anns)
    assert (renewal["total"], renewal["status"]) == (9900, "paid")
    assert workspace.shop.invoices(bobs, "subscription_cycle") == []
    assert "member_without_seat" in workspace.findings()
    assert "seat.lapsed" in workspace.notices()
    granted = [grant["subscription_id"] for grant in workspace.get("/credits/grants")["data"]]
    assert (granted.count(anns), granted.count(bobs)) == (2, 1)

    pays_for_a_seat(workspace, "bob")
    assert "member_without_seat" not in workspace.findings()


def customers_do_not_change_a_contract(workspace: Story, sub: str) -> None:
    """Neither by a save nor by letting one more in (A6)."""
    asked = refused(workspace.preview(by="ann", quantities={"pro": 8}), "contract")
    assert asked["detail"] == "Seat changes are processed through your account manager"
    full = refused(workspace.sign_in("fay"), "contract")
    assert full["detail"] == (
        "All Pro seats of the contract are in use; "
        "seat changes are processed through your account manager"
    )
    assert "contract.change_needed" in workspace.notices()
    assert workspace.shop.writes(sub) == 0


def an_approved_change_starts_with_the_next_cycle(workspace: Story, sub: str) -> None:
    """Nothing is billed now; the next invoice is of eight seats, and there is room then (A6)."""
    here, shop = workspace.here, workspace.shop
    order = "Eve Moss, order 4711"
    seen = workspace.ask("/contract/changes/preview", quantities={"pro": 8}, because=order).ok()
    assert (seen["total_minor"], seen["due_now_minor"], seen["charged_now"]) == (0, 0, False)
    assert seen["words"].endswith("It takes effect on 01 May 2026; nothing is billed now.")
    workspace.ask("/contract/changes", preview_id=seen["id"], because=order).ok()
    assert shop.quantities(sub) == {"pro": 5}
    refused(workspace.sign_in("fay"), "contract")

    here.advance(here.period_end(sub) - 1800)
    here.look(sub)
    renewal = here.renew(sub)
    assert (renewal["total"], renewal["status"]) == (8 * 12900, "paid")
    assert shop.invoices(sub, "subscription_update") == []
    workspace.sign_in("fay").ok(200)


def removals_are_the_contracts_to_allow(workspace: Story, sub: str) -> None:
    """Only with the account manager's recorded decision (A7)."""
    workspace.do("remove", "fay", by="ann").ok()
    fewer: dict[str, Any] = {"quantities": {"pro": 7}, "because": "Eve Moss, order 4712"}
    refused(workspace.ask("/contract/changes/preview", **fewer), "contract_removal")
    assert workspace.shop.quantities(sub) == {"pro": 8}

    decided = {"allowed": True, "because": "agreed on the phone, order 4712"}
    workspace.put(
        "/contract", kind="monthly", removals=decided, **FIVE_SEATS | {"quantities": {"pro": 8}}
    ).ok()
    workspace.ask("/contract/changes/preview", **fewer).ok()
    assert workspace.get("/contract")["removals"]["allowed"] is True
