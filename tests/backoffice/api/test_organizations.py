"""Organizations over the API: made, changed, listed, and read with their seats."""

from tests.support.api import Client, a_token
from tests.support.shop import Shop


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
