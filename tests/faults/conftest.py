"""What the tests of this room share."""

from collections.abc import Iterator

import pytest

from reconcile.settings import Settings
from tests.support.sandbox import Sandbox
from tests.support.shop import Shop, opened_shop


@pytest.fixture
def shop(settings: Settings, sandbox: Sandbox) -> Iterator[Shop]:
    """An empty shop: services, and the catalog's prices in the sandbox."""
    with opened_shop(settings, sandbox) as opened:
        yield opened


@pytest.fixture
def short(shop: Shop) -> str:
    """A subscription with two Voice seats fewer than active members."""
    customer = shop.organization(base=2, voice=5)
    sub = shop.subscribe(customer, {"base": 2, "voice": 5})
    shop.settle(sub)
    shop.edit(sub, "voice", 3)
    return sub
