"""Subscriptions that are over, or that a wrong key does not find: what is kept of them."""

import pytest

from reconcile.actor import Actor
from reconcile.errors import StripeGone
from reconcile.members import organizations
from reconcile.store import subscriptions
from reconcile.stripe_shapes import StripeSubscription
from tests.support.shop import Shop

KIM = Actor("cli:kim", because="another payer")


def live(shop: Shop) -> list[str]:
    """The organization's subscriptions that are not over."""
    with shop.services.sessions() as session:
        return [held.id for held in subscriptions.of_organization(session, "org_1")]


@pytest.mark.parametrize("writes", [False, True])
def test_what_a_wrong_key_did_not_find_lives_on(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, writes: bool
) -> None:
    """With the key of another mode or account Stripe knows none of them."""

    def unknown(_subscription_id: str) -> StripeSubscription:
        raise StripeGone("No such subscription")

    customer = shop.organization(plan="team", member=2)
    sub = shop.subscribe(customer, {"member": 2}, plan="team")
    shop.settle(sub)
    with monkeypatch.context() as wrong:
        wrong.setattr(shop.services.stripe, "subscription", unknown)
        assert "no such subscription" in shop.settle(sub, writes=writes).line
    assert live(shop) == ([] if writes else [sub])
    shop.activate("org_1", "member", 3)
    shop.settle(sub)
    assert live(shop) == [sub]
    assert shop.quantities(sub) == {"member": 3}


def test_it_ends_with_its_organization_that_has_another_customer_by_now(shop: Shop) -> None:
    """Named by nobody but its customer, it would be counted as bought for ever."""
    customer = shop.organization(voice=2)
    sub = shop.subscribe(customer, {"voice": 2}, organization_id="")
    shop.settle(sub)
    other = shop.sandbox.post("/v1/customers", {})["id"]
    organizations.change(shop.services, "org_1", actor=KIM, stripe_customer_id=other)
    shop.settle(sub)
    assert live(shop) == [sub]
    shop.sandbox._answer("DELETE", f"/v1/subscriptions/{sub}")
    shop.settle(sub)
    assert live(shop) == []
