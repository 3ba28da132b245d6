"""Many subscriptions at once: as good as made one by one, and quick."""

import time

import pytest
import requests

from tests.sandbox.client import KEY, Api, Box

MANY = 20_000


@pytest.fixture
def prices(api: Api) -> list[str]:
    """Two monthly prices of one product."""
    product = api.post("/v1/products", {"name": "Seats"})["id"]
    recurring = {"interval": "month"}
    return [
        api.post(
            "/v1/prices",
            {"product": product, "unit_amount": amount, "currency": "usd", "recurring": recurring},
        )["id"]
        for amount in (1000, 700)
    ]


def test_a_seeded_subscription_is_an_ordinary_one(api: Api, prices: list[str]) -> None:
    """Read, listed by its customer, changed and charged like any other."""
    api.control("POST", "clock", {"now": 1_790_000_000, "frozen": True})
    seeded = api.control(
        "POST",
        "seed",
        {
            "items": [{"price": price} for price in prices],
            "quantities": [[5, 2], [3, 1]],
            "metadata": {"organization": "org_{n}"},
        },
    )
    assert seeded == {
        "subscriptions": 2,
        "first": "sub_seed00000001",
        "last": "sub_seed00000002",
    }
    second = api.get("/v1/subscriptions/sub_seed00000002")
    assert second["metadata"] == {"organization": "org_00000002"}
    assert [item["quantity"] for item in second["items"]["data"]] == [3, 1]
    assert api.get("/v1/customers/cus_seed00000002")["currency"] == "usd"
    listed = api.get("/v1/subscriptions", {"customer": "cus_seed00000002"})["data"]
    assert listed == [second]
    item = second["items"]["data"][0]
    api.control("POST", "clock", {"now": 1_790_000_000 + 15 * 86400, "frozen": True})
    after = api.post(
        f"/v1/subscriptions/{second['id']}",
        {
            "items": [{"id": item["id"], "quantity": 4}],
            "proration_behavior": "always_invoice",
            "expand": ["latest_invoice"],
        },
    )
    lines = after["latest_invoice"]["lines"]["data"]
    assert [line["amount"] for line in lines] == [-1500, 2000]
    assert after["latest_invoice"]["status"] == "paid"
    assert api.get(f"/v1/subscription_items/{item['id']}")["quantity"] == 4
    assert api.get("/v1/subscriptions/sub_seed00000001")["items"]["data"][0]["quantity"] == 5


def test_lists_show_seeded_and_others_in_their_order(api: Api, prices: list[str]) -> None:
    """A walk through pages meets each once, and a changed price shows at once."""
    items = [{"price": price, "quantity": 1} for price in prices]
    api.control("POST", "seed", {"count": 7, "items": items})
    api.post(f"/v1/prices/{prices[0]}", {"nickname": "renamed"})
    seen: list[str] = []
    while True:
        page = {"limit": 3, **({"starting_after": seen[-1]} if seen else {})}
        answer = api.get("/v1/subscriptions", page)
        seen += [one["id"] for one in answer["data"]]
        nicknames = {one["items"]["data"][0]["price"]["nickname"] for one in answer["data"]}
        assert nicknames == {"renamed"}
        if not answer["has_more"]:
            break
    assert seen == [f"sub_seed{n:08d}" for n in range(7, 0, -1)]


def test_many_are_made_and_served_quickly(box: Box, api: Api, prices: list[str]) -> None:
    """Bounds that only a scan of everything for each page, or a dict for each row, would break."""
    items = [{"price": price, "quantity": 2} for price in prices]
    begun = time.monotonic()
    api.control("POST", "seed", {"count": MANY, "items": items})
    assert time.monotonic() - begun < 15
    page = {"limit": "100", "starting_after": "sub_seed00000150"}
    times = []
    for _ in range(10):
        begun = time.monotonic()
        answer = requests.get(
            f"{box.url}/v1/subscriptions", params=page, auth=(KEY, ""), timeout=30
        )
        times.append(time.monotonic() - begun)
        assert answer.status_code == 200
    assert min(times) < 0.05


@pytest.mark.parametrize(
    "sent",
    [
        {"count": 5, "items": []},
        {"count": 0, "items": [{"price": "known"}]},
        {"count": 1, "items": [{"price": "price_nope"}]},
        {"quantities": [[1, 2]], "items": [{"price": "known"}]},
    ],
)
def test_a_bad_seed_is_refused_whole(api: Api, prices: list[str], sent: dict[str, object]) -> None:
    """Nothing is made of a request that makes no sense."""
    items = [
        {"price": prices[0] if one["price"] == "known" else one["price"]}
        for one in sent["items"]  # type: ignore[attr-defined]
    ]
    answer = api.call("POST", "/_sandbox/seed", json={**sent, "items": items})
    assert answer.status == 400
    assert api.get("/v1/subscriptions")["data"] == []
