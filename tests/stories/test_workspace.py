"""A workspace: Pro, where every member pays for a seat of their own, then Business by contract.

A Pro seat is 99.00 a month, a Business seat 129.00.
"""

from reconcile.actor import Actor
from reconcile.members import membership
from reconcile.members.joining import Done
from reconcile.policy.seat_change import Requester, Wanted
from tests.support.shop import Shop
from tests.support.story import ORGANIZATION, Story, begun, refusal


def test_a_pro_workspace_from_the_first_invite_to_the_invoice(shop: Shop) -> None:
    workspace = begun(shop, "workspace_pro")
    workspace.enter("ann", role="admin", seat_type="pro", status="pending")
    anns = buys_a_seat(workspace, "ann")
    workspace.joins("ann")

    bobs = a_seat_joins_on_payment(workspace)
    a_pool_is_of_one_tier(workspace)
    the_one_admin_hands_over(workspace)
    a_lapse_is_found_and_paid_again(workspace, anns, bobs)


def test_a_business_workspace_under_a_monthly_contract(shop: Shop) -> None:
    shop = shop.with_plan("workspace_business", contract_kind="monthly")
    workspace = begun(shop, "workspace_business")
    workspace.enter("ann", role="admin", seat_type="pro")
    for member_id in ("bob", "cy", "di", "eve"):
        workspace.enter(member_id, seat_type="pro")
    sub = shop.subscribe(workspace.customer, {"pro": 5}, plan="workspace_business")
    shop.settle(sub)

    customers_do_not_change_a_contract(workspace, sub)
    an_approved_change_starts_with_the_next_cycle(workspace, sub)
    removals_are_the_contracts_to_allow(workspace)


def buys_a_seat(workspace: Story, member_id: str, plan: str = "workspace_pro") -> str:
    """The member completes the checkout; the seat becomes known here."""
    bought = workspace.shop.subscribe(
        workspace.customer, {"pro": 1}, plan=plan, **{"metadata[member_id]": member_id}
    )
    workspace.shop.settle(bought)
    return bought


def a_seat_joins_on_payment(workspace: Story) -> str:
    """The click alone lets nobody in (A2)."""
    workspace.enter("bob", seat_type="pro", status="invited")
    refused = refusal(workspace.join("bob"))
    assert refused.message == "The seat joins when it is paid"
    assert refused.remedies == ("complete the payment of the seat",)
    bobs = buys_a_seat(workspace, "bob")
    (invoice,) = workspace.shop.invoices(bobs)
    assert (invoice["total"], invoice["status"]) == (9900, "paid")
    workspace.joins("bob")
    assert workspace.ask_in_vain(Wanted(quantities={"pro": 2})).code == "own_seat"
    return bobs


def a_pool_is_of_one_tier(workspace: Story) -> None:
    """A Business seat does not join a Pro pool, although it is paid (A5)."""
    workspace.enter("cy", seat_type="pro", status="invited")
    buys_a_seat(workspace, "cy", plan="workspace_business")
    assert refusal(workspace.join("cy")).code == "tier_mixed"
    assert workspace.standing_of("cy") == ("member", "pro", "invited")


def the_one_admin_hands_over(workspace: Story) -> None:
    """There is exactly one admin, before and after (A3)."""
    services, ann = workspace.shop.services, Actor("member:ann")
    second = membership.change_role(services, ORGANIZATION, "bob", role="admin", actor=ann)
    assert refusal(second).message == "The plan has exactly one admin, changed in one step"
    handed = membership.transfer_admin(services, ORGANIZATION, "ann", "bob", actor=ann)
    assert isinstance(handed, Done)
    assert workspace.standing_of("bob") == ("admin", "pro", "active")
    assert workspace.standing_of("ann") == ("member", "pro", "active")


def a_lapse_is_found_and_paid_again(workspace: Story, anns: str, bobs: str) -> None:
    """Ann's seat renews and Bob's is not: he is out of the pool until he pays again (A4)."""
    shop = workspace.shop
    shop.sandbox.post(f"/v1/subscriptions/{bobs}", {"cancel_at_period_end": "true"})
    renewal = workspace.renew(anns)
    assert (renewal["total"], renewal["status"]) == (9900, "paid")
    assert shop.invoices(bobs, "subscription_cycle") == []
    shop.settle(anns)
    shop.settle(bobs)
    workspace.look()
    assert shop.findings(None) == {"member_without_seat"}
    assert shop.findings(anns) == set()

    buys_a_seat(workspace, "bob")
    workspace.look()
    assert shop.findings(None) == set()


def customers_do_not_change_a_contract(workspace: Story, sub: str) -> None:
    """Neither by a save nor by letting one more in (A6)."""
    refused = workspace.ask_in_vain(Wanted(quantities={"pro": 8}))
    assert refused.message == "Seat changes are processed through your account manager"
    workspace.enter("fay", seat_type="pro", status="pending")
    assert refusal(workspace.join("fay")).message == (
        "All Pro seats of the contract are in use; "
        "seat changes are processed through your account manager"
    )
    unsigned = Wanted(quantities={"pro": 8}, by=Requester.ACCOUNT_MANAGER)
    assert workspace.ask_in_vain(unsigned).code == "approval_needed"
    assert workspace.shop.writes(sub) == 0


def an_approved_change_starts_with_the_next_cycle(workspace: Story, sub: str) -> None:
    """Nothing is billed now; the next invoice is of eight seats, and there is room then (A6)."""
    shop = workspace.shop
    wanted = Wanted(
        quantities={"pro": 8}, by=Requester.ACCOUNT_MANAGER, approval="Eve Moss, order 4711"
    )
    seen = workspace.ask(wanted)
    assert seen.quote.words == (
        "Change: +3 Pro seats. New plan total: USD 1,032.00/month (+USD 387.00/month). "
        "It takes effect on 01 May 2026; nothing is billed now."
    )
    assert (seen.quote.total_minor, seen.quote.due_now_minor, seen.quote.charged_now) == (
        0,
        0,
        False,
    )
    done = workspace.save(seen)
    assert done.at_renewal is not None
    assert "approved: Eve Moss, order 4711" in done.line
    shop.settle(sub)
    assert shop.quantities(sub) == {"pro": 5}
    assert refusal(workspace.join("fay")).code == "contract"

    workspace.advance(workspace.period_end(sub) - 1800)
    shop.settle(sub)
    renewal = workspace.renew(sub)
    assert (renewal["total"], renewal["status"]) == (8 * 12900, "paid")
    assert shop.invoices(sub, "subscription_update") == []
    workspace.joins("fay")


def removals_are_the_contracts_to_allow(workspace: Story) -> None:
    """This one does not allow them, whoever approves (A7)."""
    fewer = Wanted(quantities={"pro": 6}, by=Requester.ACCOUNT_MANAGER, approval="Eve Moss")
    refused = workspace.ask_in_vain(fewer)
    assert refused.code == "contract_removal"
