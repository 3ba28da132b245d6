"""The API on a shop: real services, the catalog's prices in the sandbox."""

from collections.abc import Iterator

import pytest

from reconcile.settings import Settings
from tests.support.api import Client, api_of
from tests.support.sandbox import Sandbox
from tests.support.shop import Shop, opened_shop


@pytest.fixture
def shop(settings: Settings, sandbox: Sandbox) -> Iterator[Shop]:
    """An empty shop."""
    with opened_shop(settings, sandbox) as opened:
        yield opened


@pytest.fixture
def api(shop: Shop) -> Client:
    """A client of the shop's API with every scope."""
    return api_of(shop.services)
