"""Somebody buys seats in Stripe's dashboard at the moment in which members need them."""

from concurrent.futures import ThreadPoolExecutor

from reconcile.actor import Actor
from reconcile.members.activation import activate
from reconcile.members.joining import Done
from reconcile.store import roster
from reconcile.store.roster import AutoAdd
from tests.support.operating import locks_waited_for
from tests.support.roster import add_member
from tests.support.shop import Shop
from tests.support.workshop import eventually


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


def test_seats_are_not_taken_over_while_a_member_is_let_in(shop: Shop) -> None:
    """B5: a dashboard's lowering is adopted under the lock that activations take.

    Adopted from a count that was read a moment before a third member joined, it would leave three
    on two seats for good, since Stripe and our record would agree.
    """
    sub = shop.subscribe(shop.organization(voice=2), {"voice": 3})
    shop.settle(sub)
    shop.edit(sub, "voice", 2)
    with ThreadPoolExecutor(1) as beside:
        with shop.services.sessions.begin() as session:
            roster.lock_organization(session, "org_1")
            add_member(session, "org_1", "ann")
            settled = beside.submit(shop.settle, sub)
            eventually(lambda: locks_waited_for(shop.services) == 1 or settled.done())
            assert not settled.done()
        settled.result()
    assert shop.quantities(sub) == {"voice": 3}
    assert len(shop.adjustments(sub)) == 1
