"""Seats after the organization went to another plan, or to another subscription.

What is recorded of the seats before must not stand in the way of those there are now.
"""

import pytest
from sqlalchemy import update

from reconcile.actor import Actor
from reconcile.adjustments import contract
from reconcile.adjustments.contract import Terms
from reconcile.members.overview import Overview, overview
from reconcile.store import roster
from reconcile.store.contracts import Contract
from reconcile.tables import organizations
from tests.support.shop import Shop

EVE = Actor("token:tok_1", "tok_1", "order 4711")


def goes_to(shop: Shop, plan: str) -> None:
    """The host's application puts the organization on another plan."""
    with shop.services.sessions.begin() as session:
        session.execute(update(organizations).values(plan=plan))


def looked_at(shop: Shop) -> Overview:
    with shop.services.sessions() as session:
        organization = roster.organization(session, "org_1")
        assert organization
        return overview(session, shop.services, organization)


@pytest.mark.parametrize("paid_first", [False, True])
def test_an_old_contract_says_nothing_of_seats_of_ones_own(shop: Shop, paid_first: bool) -> None:
    customer = shop.organization(plan="workspace_business", pro=1)
    pooled = shop.subscribe(customer, {"pro": 20}, plan="workspace_business")
    shop.settle(pooled)
    terms = Terms(
        kind="monthly",
        quantities={"pro": 20},
        starts_at=shop.services.clock(),
        ends_at=None,
        removals_allowed=None,
        removals_because=None,
    )
    assert isinstance(contract.record(shop.services, "org_1", terms, actor=EVE), Contract)
    shop.sandbox._answer("DELETE", f"/v1/subscriptions/{pooled}")
    shop.settle(pooled)
    member = {"metadata[member_id]": "member_pro_active_0"}
    if not paid_first:
        goes_to(shop, "workspace_pro")
    own = shop.subscribe(customer, {"pro": 1}, plan="workspace_pro", **member)
    shop.settle(own)
    goes_to(shop, "workspace_pro")
    shop.settle(own)
    assert shop.seats(own)["pro"].quantity == 1
    (seats,) = looked_at(shop).seats
    assert (seats.quantity, seats.capacity) == (1, 1)
