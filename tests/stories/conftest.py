"""What the stories share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconcile.settings import Settings
from tests.support.installation import Installation, running_installation
from tests.support.sandbox import Sandbox
from tests.support.shop import Shop, opened_shop


@pytest.fixture
def shop(settings: Settings, sandbox: Sandbox) -> Iterator[Shop]:
    """An empty shop: services, and the catalog's prices in the sandbox."""
    with opened_shop(settings, sandbox) as opened:
        yield opened


@pytest.fixture
def here(shop: Shop, tmp_path: Path) -> Iterator[Installation]:
    """The whole service, running, with Stripe's webhooks coming in."""
    with running_installation(tmp_path, shop) as running:
        yield running
