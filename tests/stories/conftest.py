"""What the stories share."""

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
