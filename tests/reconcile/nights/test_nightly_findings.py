"""Findings that a night closes: what opened them is over, and no event will say so."""

from collections.abc import Iterator
from datetime import date

import pytest

from reconcile.nights import nightly
from reconcile.settings import Settings
from tests.support.sandbox import Sandbox
from tests.support.shop import Shop, opened_shop


@pytest.fixture
def shop(settings: Settings, sandbox: Sandbox) -> Iterator[Shop]:
    with opened_shop(settings, sandbox) as opened:
        yield opened


def test_a_quantity_that_was_adopted_is_told_until_the_next_night(shop: Shop) -> None:
    """Adopted it differs from nothing: without the night it stood until the next event."""
    sub = shop.subscribe(shop.organization(voice=2), {"voice": 3})
    shop.settle(sub)
    shop.edit(sub, "voice", 5)
    first, second, third = (
        nightly.run(shop.services, date(2026, 3, night), writes=True) for night in (1, 2, 3)
    )
    assert (first.differing, first.findings_opened) == ({"quantity": 1}, 1)
    assert shop.seats(sub)["voice"].quantity == 5
    assert (second.differing, second.findings_closed) == ({"open finding": 1}, 1)
    assert third.differing == {}
    assert shop.findings(sub) == set()
