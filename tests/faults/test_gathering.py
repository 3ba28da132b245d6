"""Whoever buys first waits a moment for others: the pause itself, not the luck of a burst (B15)."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from reconcile.actor import Actor
from reconcile.members import activation
from reconcile.members.joining import Done
from reconcile.store import roster
from reconcile.store.roster import AutoAdd
from tests.support.roster import add_member
from tests.support.shop import Shop


def test_who_comes_during_the_pause_is_bought_in_the_same_update(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "GATHER_S", 3.0)
    sub = shop.subscribe(shop.organization(voice=2), {"voice": 2})
    shop.settle(sub)
    with shop.services.sessions.begin() as session:
        wanted = AutoAdd(seat_type="voice", enabled=True, ceiling_quantity=None, ceiling_minor=None)
        roster.write_auto_add(session, "org_1", [wanted])
        for name in ("ann", "bob"):
            add_member(session, "org_1", name, status="pending")

    def join(name: str) -> object:
        return activation.activate(shop.services, "org_1", name, actor=Actor("token:host"))

    with ThreadPoolExecutor(2) as together:
        ann = together.submit(join, "ann")
        time.sleep(1)
        bob = together.submit(join, "bob")
        assert isinstance(ann.result(), Done)
        assert isinstance(bob.result(), Done)
    (bought,) = shop.adjustments(sub)
    assert [(c.from_quantity, c.to_quantity) for c in bought.changes] == [(2, 4)]
    assert len(shop.invoices(sub, "subscription_update")) == 1
