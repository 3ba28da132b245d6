"""Whoever buys first waits a moment for others: the pause itself, not the luck of a burst (B15)."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from reconcile.actor import Actor
from reconcile.members import activation
from reconcile.members.joining import Done
from reconcile.store import roster, waiting
from reconcile.store.roster import AutoAdd
from tests.support.roster import add_member
from tests.support.shop import Shop
from tests.support.workshop import eventually


def test_who_comes_during_the_pause_is_bought_in_the_same_update(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    sub = shop.subscribe(shop.organization(voice=2), {"voice": 2})
    shop.settle(sub)
    with shop.services.sessions.begin() as session:
        wanted = AutoAdd(seat_type="voice", enabled=True, ceiling_quantity=None, ceiling_minor=None)
        roster.write_auto_add(session, "org_1", [wanted])
        for name in ("ann", "bob"):
            add_member(session, "org_1", name, status="pending")
    bob: list[Future[object]] = []

    def join(name: str) -> object:
        return activation.activate(shop.services, "org_1", name, actor=Actor("token:host"))

    def both_wait() -> bool:
        with shop.services.sessions() as session:
            return len(waiting.of_organization(session, "org_1")) == 2

    def pause(seconds: float) -> None:
        """Ann's first pause is the one before she buys: it lasts until Bob has come."""
        if bob:
            time.sleep(seconds)
        else:
            bob.append(beside.submit(join, "bob"))
            eventually(both_wait)

    monkeypatch.setattr(activation, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pause))
    with ThreadPoolExecutor(1) as beside:
        assert isinstance(join("ann"), Done)
        assert bob, "she bought at once"
        assert isinstance(bob[0].result(), Done)
    (bought,) = shop.adjustments(sub)
    assert [(c.from_quantity, c.to_quantity) for c in bought.changes] == [(2, 4)]
    assert len(shop.invoices(sub, "subscription_update")) == 1
