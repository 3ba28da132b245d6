"""When a finding that settling opened by itself is over."""

from tests.support.shop import Shop


def test_a_declined_raise_that_nobody_wants_any_more_is_over(shop: Shop) -> None:
    """Found by a chaos run: fewer seats were planned for the renewal, and the finding stayed."""
    customer = shop.organization(plan="team", member=5)
    sub = shop.subscribe(customer, {"member": 5}, plan="team")
    shop.settle(sub)
    shop.activate("org_1", "member", 7)
    shop.sandbox.control("/declines", {"customer": customer, "code": "insufficient_funds"})
    shop.settle(sub)
    assert shop.findings(sub) == {"payment_declined"}
    shop.settle(sub)
    assert shop.findings(sub) == {"payment_declined"}
    shop.activate("org_1", "member", 3)
    assert "at renewal" in shop.settle(sub).line
    assert shop.findings(sub) == set()


def test_a_declined_raise_is_not_over_because_the_counts_are_in_doubt(shop: Shop) -> None:
    customer = shop.organization(plan="team", member=5)
    sub = shop.subscribe(customer, {"member": 5}, plan="team")
    shop.settle(sub)
    shop.activate("org_1", "member", 7)
    shop.sandbox.control("/declines", {"customer": customer, "code": "insufficient_funds"})
    shop.settle(sub)
    shop.activate("org_1", "member", 0)
    shop.settle(sub)
    assert shop.findings(sub) == {"payment_declined", "counts_suddenly_zero"}
