"""Organizations over the API: made, changed, listed, and read with their seats."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, insert

from reconcile.services import Services
from reconcile.settling.organizations import settle_organization
from reconcile.tables import seats, subscriptions
from tests.support.api import Client, a_token
from tests.support.roster import add_member, add_members, add_organization
from tests.support.shop import Shop


@pytest.mark.parametrize(
    "change", [{"plan": "commerce_scale"}, {"trial": True}, {"stripe_customer_id": "cus_9"}]
)
def test_what_is_paid_and_by_whom_needs_the_scope_of_billing(
    api: Client, shop: Shop, change: dict[str, Any]
) -> None:
    """A token that may invite people neither changes the plan nor names another payer."""
    shop.organization()
    staff = api.with_token(a_token(shop.services, "read", "members"))
    refused = staff.patch("/organizations/org_1", **change).problem(403, "scope_missing")
    assert "billing" in refused["detail"]
    staff.patch("/organizations/org_1", name="Renamed").ok()
    named = {"id": "org_2", "name": "Two", "plan": "agency", "stripe_customer_id": "cus_2"}
    staff.post("/organizations", named).problem(403, "scope_missing")
    staff.post("/organizations", named | {"stripe_customer_id": None}).ok(201)
    billing = api.with_token(a_token(shop.services, "members", "billing"))
    billing.patch("/organizations/org_1", **change).ok()


def test_an_organization_is_made_and_read(api: Client) -> None:
    made = api.post("/organizations", id="org_9", name="Harbour & Sons", plan="agency").ok(201)
    assert made.json == {
        "id": "org_9",
        "name": "Harbour & Sons",
        "plan": "agency",
        "stripe_customer_id": None,
        "trial": False,
    }
    found = api.get("/organizations/org_9").ok()
    assert found["policy"] == "purchased"
    assert [seat["seat_type"] for seat in found["seats"]] == ["base", "voice"]


def test_seats_are_shown_as_bought_active_free(api: Client, shop: Shop) -> None:
    customer = shop.organization(voice=3, base=2)
    subscription = shop.subscribe(customer, {"voice": 5, "base": 2})
    shop.settle(subscription)
    found = api.get("/organizations/org_1").ok()
    seats = {seat["seat_type"]: seat for seat in found["seats"]}
    shown = ("bought", "in_stripe", "active", "capacity", "free")
    assert [seats["voice"][name] for name in shown] == [5, 5, 3, 5, 2]
    assert [seats["base"][name] for name in shown] == [2, 2, 2, 2, 0]
    assert [one["id"] for one in found["subscriptions"]] == [subscription]
    assert found["subscriptions"][0]["status"] == "active"


def test_another_organizations_token_finds_nothing(api: Client, shop: Shop) -> None:
    shop.organization("org_1")
    shop.organization("org_2")
    bound = api.with_token(a_token(shop.services, organization_id="org_2"))
    bound.get("/organizations/org_1").problem(404, "not_found")
    bound.get("/organizations/org_2").ok()
    assert [one["id"] for one in bound.get("/organizations").ok()["data"]] == ["org_2"]


@pytest.mark.parametrize(
    "change",
    [{"stripe_customer_id": "cus_of_another"}, {"plan": "commerce_scale"}, {"trial": True}],
)
def test_a_bound_token_has_no_say_in_who_pays_or_what_is_included(
    api: Client, shop: Shop, change: dict[str, Any]
) -> None:
    """A customer of somebody else's would open their portal and show their events."""
    shop.organization("org_2", plan="commerce_starter")
    before = api.get("/organizations/org_2").ok().json
    bound = api.with_token(a_token(shop.services, organization_id="org_2"))
    bound.patch("/organizations/org_2", **change).problem(403, "not_allowed")
    assert api.get("/organizations/org_2").ok().json == before
    bound.patch("/organizations/org_2", name="Second").ok()


def test_making_it_again_changes_nothing_and_another_of_its_id_is_refused(
    api: Client, shop: Shop
) -> None:
    new = {"id": "org_9", "name": "Harbour", "plan": "agency"}
    first = api.post("/organizations", new).ok(201)
    assert api.post("/organizations", new).ok(201).json == first.json
    api.post("/organizations", new | {"name": "Other"}).problem(409, "organization_exists")
    (entry,) = api.get("/audit", organization_id="org_9").ok()["data"]
    assert (entry["action"], entry["after"]["name"]) == ("organization.created", "Harbour")
    assert entry["token_id"] == entry["actor"].removeprefix("token:")


def test_a_stripe_customer_pays_for_one_organization(api: Client) -> None:
    api.post("/organizations", id="org_1", name="A", plan="agency", stripe_customer_id="cus_1").ok()
    other = {"id": "org_2", "name": "B", "plan": "agency"}
    api.post("/organizations", other, stripe_customer_id="cus_1").problem(409, "customer_taken")
    api.post("/organizations", other).ok(201)
    api.patch("/organizations/org_2", stripe_customer_id="cus_1").problem(409, "customer_taken")
    cleared = api.patch("/organizations/org_1", stripe_customer_id=None).ok()
    assert cleared["stripe_customer_id"] is None


def test_a_change_is_audited_with_before_and_after(api: Client, shop: Shop) -> None:
    shop.organization()
    api.patch("/organizations/org_1", name="Renamed", because="they asked").ok()
    (entry,) = api.get("/audit", subject="org_1", action="organization.changed").ok()["data"]
    assert (entry["before"]["name"], entry["after"]["name"]) == ("Organization org_1", "Renamed")
    assert entry["because"] == "they asked"
    api.patch("/organizations/org_1", name="Renamed").ok()
    assert len(api.get("/audit", subject="org_1").ok()["data"]) == 1
    api.patch("/organizations/org_9", name="Renamed").problem(404, "not_found")


def test_c8_a_plan_change_may_go_over_and_a_review_opens(api: Client, shop: Shop) -> None:
    """C8: beyond Scale after a plan change: let through, then one Enterprise review."""
    with shop.services.sessions.begin() as session:
        add_organization(session, "org_1", plan="commerce_growth")
        add_member(session, "org_1", "olga", role="owner", seat_type=None)
        add_members(session, "org_1", "admin", role="admin", active=8)
    api.patch("/organizations/org_1", plan="commerce_scale", because="they grew").ok()
    settle_organization(shop.services, "org_1", trigger="test")
    found = api.get("/organizations/org_1").ok()
    admin = next(one for one in found["seats"] if one["seat_type"] == "admin")
    assert (admin["active"], admin["capacity"], admin["free"]) == (8, 7, 0)
    (review,) = found["open_reviews"]
    assert (review["kind"], review["restricted_at"]) == ("enterprise", None)
    assert not found["restricted"]


def test_a_plan_that_cannot_count_the_members_is_refused(api: Client, shop: Shop) -> None:
    shop.organization(voice=1)
    refused = api.patch("/organizations/org_1", plan="commerce_growth").problem(
        409, "plan_does_not_fit"
    )
    assert "voice" in refused["detail"]
    api.patch("/organizations/org_1", plan="nosuch").problem(422, "invalid")


def test_a3_a_plan_of_one_admin_takes_no_organization_with_two(api: Client, shop: Shop) -> None:
    shop.organization(plan="workspace_business")
    with shop.services.sessions.begin() as session:
        for name in ("ann", "bea"):
            add_member(session, "org_1", name, role="admin", seat_type="pro")
    said = api.patch("/organizations/org_1", plan="workspace_pro")
    assert said.problem(409, "plan_does_not_fit")["remedies"]
    api.post("/organizations/org_1/members/bea/role", role="member").ok()
    api.patch("/organizations/org_1", plan="workspace_pro").ok()


def test_three_hundred_own_seats_are_shown_by_a_few_queries(api: Client, shop: Shop) -> None:
    shop.organization(plan="workspace_pro")
    held = {"organization_id": "org_1", "customer_id": "cus_1", "status": "active"}
    held |= {"currency": "usd", "billing_mode": "flexible"}
    flags = ("cancel_at_period_end", "collection_paused", "has_pending_update")
    rows = [held | dict.fromkeys(flags, False) | {"id": f"sub_{n}"} for n in range(300)]
    seat = {"seat_type": "pro", "item_id": "si", "price_id": "price", "quantity": 1}
    with shop.services.sessions.begin() as session:
        at = shop.services.clock()
        session.execute(insert(subscriptions), [row | {"as_of": at} for row in rows])
        session.execute(insert(seats), [seat | {"subscription_id": row["id"]} for row in rows])
    asked: list[str] = []
    with asking(shop.services, asked):
        (pro,) = api.get("/organizations/org_1").ok()["seats"]
    assert (pro["bought"], pro["capacity"]) == (300, 300)
    assert 0 < len(asked) < 25


@contextmanager
def asking(services: Services, asked: list[str]) -> Iterator[None]:
    """Collect the statements that sessions send."""

    def hear(*said: Any) -> None:
        asked.append(said[2])

    engine = services.sessions.kw["bind"]
    event.listen(engine, "before_cursor_execute", hear)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", hear)


def test_included_seats_are_shown_with_their_limits(api: Client, shop: Shop) -> None:
    with shop.services.sessions.begin() as session:
        add_organization(session, "org_1", plan="commerce_growth")
        add_member(session, "org_1", "olga", role="owner", seat_type=None)
        add_members(session, "org_1", "admin", role="admin", active=2)
    found = api.get("/organizations/org_1").ok()
    admin = next(one for one in found["seats"] if one["seat_type"] == "admin")
    assert (admin["active"], admin["included"], admin["free"]) == (2, 3, 1)
    assert admin["bought"] is None
    assert (found["credit_pool"], found["restricted"], found["open_reviews"]) == (0, False, [])


def test_open_findings_are_shown_and_listed(api: Client, shop: Shop) -> None:
    customer = shop.organization(voice=3)
    subscription = shop.subscribe(customer, {"voice": 3, "base": 1})
    shop.settle(subscription)
    shop.activate("org_1", "voice", 5)
    shop.settle(subscription)
    (shown,) = api.get("/organizations/org_1").ok()["open_findings"]
    assert shown["kind"] == "active_over_quantity"
    (listed,) = api.get("/findings", organization_id="org_1", state="open").ok()["data"]
    assert listed == shown
    assert api.get(f"/findings/{shown['id']}").ok().json == shown
    assert api.get("/findings", organization_id="org_1", state="closed").ok()["data"] == []
    stranger = api.with_token(a_token(shop.services, organization_id="org_2"))
    stranger.get(f"/findings/{shown['id']}").problem(404, "not_found")
    assert stranger.get("/findings").ok()["data"] == []
    stranger.get("/findings", organization_id="org_1").problem(404, "not_found")


def test_an_adjustment_is_shown_with_the_invoice_lines_it_brought(api: Client, shop: Shop) -> None:
    customer = shop.organization(voice=3)
    subscription = shop.subscribe(customer, {"voice": 3, "base": 1})
    shop.settle(subscription)
    shop.edit(subscription, "voice", 2)
    shop.settle(subscription)
    (made,) = api.get("/adjustments", organization_id="org_1").ok()["data"]
    assert (made["state"], made["actor"]) == ("applied", "trueup")
    assert made["changes"][0]["to_quantity"] == 3
    detail = api.get(f"/adjustments/{made['id']}").ok()
    invoice = shop.sandbox.get(f"/v1/invoices/{made['invoice_id']}")
    assert detail["total_minor"] == invoice["total"]
    assert sum(line["amount_minor"] for line in detail["lines"]) == invoice["total"]
    by_invoice = api.get("/adjustments", invoice_id=made["invoice_id"]).ok()["data"]
    assert [one["id"] for one in by_invoice] == [made["id"]]
    stranger = api.with_token(a_token(shop.services, organization_id="org_2"))
    stranger.get(f"/adjustments/{made['id']}").problem(404, "not_found")
    api.get("/adjustments/adj_none").problem(404, "not_found")


def test_tokens_are_listed_without_their_secrets(api: Client, shop: Shop) -> None:
    bound = a_token(shop.services, organization_id="org_2")
    every = api.get("/tokens").ok()
    assert len(every["data"]) == 2
    assert bound.rpartition("_")[2] not in every.text
    (own,) = api.with_token(bound).get("/tokens").ok()["data"]
    assert own["organization_id"] == "org_2"
