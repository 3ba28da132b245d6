"""One purchased organization end to end: seen first, edited in the dashboard, raised back."""

from reconcile.adjustments import adjusting, preparing
from reconcile.policy.values import Change, Proration
from tests.support.shop import Shop


def test_a_subscription_first_seen_is_taken_as_bought(shop: Shop) -> None:
    customer = shop.organization(base=2, voice=3)
    sub = shop.subscribe(customer, {"base": 2, "voice": 5})
    settled = shop.settle(sub)
    seats = shop.seats(sub)
    assert {name: (s.quantity, s.stripe_quantity) for name, s in seats.items()} == {
        "base": (2, 2),
        "voice": (5, 5),
    }
    assert "5 Voice, 3 active, 2 unused" in settled.line
    assert shop.writes(sub) == 0
    assert shop.findings(sub) == set()


def test_an_edit_below_the_active_count_is_raised_back_and_charged_once(shop: Shop) -> None:
    customer = shop.organization(base=2, voice=5)
    sub = shop.subscribe(customer, {"base": 2, "voice": 5})
    shop.settle(sub)
    shop.edit(sub, "voice", 3)
    settled = shop.settle(sub)
    assert shop.quantities(sub) == {"base": 2, "voice": 5}
    assert shop.writes(sub) == 1
    (adjustment,) = shop.adjustments(sub)
    assert adjustment.state == "applied"
    assert str(adjustment.invoice_id) in settled.line
    (invoice,) = shop.invoices(sub, "subscription_update")
    assert invoice["id"] == adjustment.invoice_id
    assert invoice["total"] == adjustment.total_minor
    assert shop.findings(sub) == set()
    assert shop.settle(sub).adjustment_id is None
    assert shop.writes(sub) == 1


def test_a_second_subscription_that_was_canceled_leaves_no_finding_behind(shop: Shop) -> None:
    customer = shop.organization(base=2, voice=5)
    sub = shop.subscribe(customer, {"base": 2, "voice": 5})
    shop.settle(sub)
    second = shop.subscribe(customer, {"voice": 1})
    shop.settle(second)
    assert "several_subscriptions" in shop.findings(second)
    shop.sandbox._answer("DELETE", f"/v1/subscriptions/{second}")
    shop.settle(second)
    shop.settle(sub)
    assert shop.findings(second) == shop.findings(sub) == set()


def test_a_subscription_that_ends_while_a_raise_is_on_its_way(shop: Shop) -> None:
    """What Stripe would refuse is not sent again: its end would be a dead letter, and unheard."""
    customer = shop.organization(voice=2)
    sub = shop.subscribe(customer, {"voice": 2})
    shop.settle(sub)
    intent = preparing.prepare(
        shop.services,
        shop.services.stripe.subscription(sub),
        Change(quantities={"voice": 3}, proration=Proration.CHARGE_NOW, reason="+1 Voice seat"),
        trigger="test",
        active={"voice": 2},
    )
    with shop.services.sessions.begin() as session:
        adjusting.intend(session, shop.services, intent)
    shop.sandbox._answer("DELETE", f"/v1/subscriptions/{sub}")
    shop.settle(sub)
    (given_up,) = shop.adjustments(sub)
    assert (given_up.state, given_up.outcome) == (
        "failed",
        "Stripe has no trace of it, and the subscription is over",
    )
    assert shop.findings(sub) == {"active_without_subscription"}
