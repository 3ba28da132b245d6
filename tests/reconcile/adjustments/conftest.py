"""What the tests of adjustments share."""

import pytest

from tests.support.renewing import START
from tests.support.shop import Shop


@pytest.fixture
def clock(shop: Shop) -> str:
    """A test clock that stands still until it is advanced."""
    made = shop.sandbox.post("/v1/test_helpers/test_clocks", {"frozen_time": START})
    return str(made["id"])
