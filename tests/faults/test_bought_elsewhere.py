"""Somebody buys seats in Stripe's dashboard at the moment in which members need them."""

from reconcile.actor import Actor
from reconcile.members.activation import activate
from reconcile.members.joining import Done
from reconcile.store import roster
from reconcile.store.roster import AutoAdd
from tests.support.roster import add_member
from tests.support.shop import Shop


def test_a_seat_that_stripe_has_already_is_not_bought_again(shop: Shop) -> None:
    """B15: no update that changes nothing, and no older invoice booked as its charge."""
    sub = shop.subscribe(shop.organization(voice=2), {"voice": 2})
    shop.settle(sub)
    with shop.services.sessions.begin() as session:
        wanted = AutoAdd(seat_type="voice", enabled=True, ceiling_quantity=None, ceiling_minor=None)
        roster.write_auto_add(session, "org_1", [wanted])
        for name in ("ann", "bob"):
            add_member(session, "org_1", name, status="pending")
    shop.edit(sub, "voice", 3)
    ann, bob = (
        activate(shop.services, "org_1", name, actor=Actor("token:host")) for name in ("ann", "bob")
    )
    assert isinstance(ann, Done), ann
    assert isinstance(bob, Done), bob
    assert shop.quantities(sub) == {"voice": 4}
    (bought,) = shop.adjustments(sub)
    assert [(c.from_quantity, c.to_quantity) for c in bought.changes] == [(3, 4)]
    assert shop.findings(sub) == {"stripe_quantity_changed"}
    assert shop.seats(sub)["voice"].quantity == 4
