"""Items that somebody in Stripe's dashboard took out or gave another price: told, not overlooked.

The subscriptions name no organization: it is known by its customer alone.
"""

from dataclasses import replace

import pytest

from reconcile import facts, seeing
from reconcile.policy.values import ItemProblem
from reconcile.store import roster
from tests.support.shop import Shop


@pytest.fixture
def sub(shop: Shop) -> str:
    """Three Base seats, two of them taken."""
    customer = shop.organization(base=2)
    price = shop.services.catalog.price_of("agency", "base", "month", "usd")
    bought = {"customer": customer, "items[0][price]": price.id, "items[0][quantity]": 3}
    sub = str(shop.sandbox.post("/v1/subscriptions", bought)["id"])
    shop.settle(sub)
    return sub


def test_seats_at_a_price_that_nobody_knows(shop: Shop, sub: str) -> None:
    item = shop.seats(sub)["base"].item_id
    form = {"items[0][id]": item, "items[0][price]": shop.stickers(), "items[0][quantity]": 1}
    shop.sandbox.post(f"/v1/subscriptions/{sub}", form)
    shop.settle(sub)
    assert shop.findings(sub) == {"item_wrong_price"}
    assert shop.seats(sub)["base"].stripe_quantity == 1
    # Over, it is no room for anybody either.
    shop.sandbox._answer("DELETE", f"/v1/subscriptions/{sub}")
    shop.settle(sub)
    assert "active_without_subscription" in shop.findings(sub)


def test_seats_that_were_taken_out_beside_something_else(shop: Shop, sub: str) -> None:
    item = shop.seats(sub)["base"].item_id
    form = {
        "items[0][price]": shop.stickers(),
        "items[1][id]": item,
        "items[1][deleted]": "true",
    }
    shop.sandbox.post(f"/v1/subscriptions/{sub}", form)
    shop.settle(sub)
    assert shop.findings(sub) == {"item_missing"}


def test_seats_billed_in_another_currency_of_their_price(shop: Shop, sub: str) -> None:
    """Stripe's `currency_options`: the price goes on saying its first currency, the amounts are of
    another; a ceiling of money and the model of the proration would be off."""
    seen = seeing.fetched(shop.services, sub)
    in_yen = replace(seen, subscription=replace(seen.subscription, currency="jpy"))
    with shop.services.sessions() as session:
        organization = roster.organization(session, "org_1")
        assert organization is not None
        problems = facts.record(session, shop.services, in_yen, organization).problems
    assert problems == {"base": ItemProblem.WRONG_CURRENCY}
