"""What the tests of adjustments share."""

import pytest

from reconcile.policy.values import SeatPolicy
from tests.support.renewing import START
from tests.support.shop import Shop


@pytest.fixture
def clock(shop: Shop) -> str:
    """A test clock that stands still until it is advanced."""
    made = shop.sandbox.post("/v1/test_helpers/test_clocks", {"frozen_time": START})
    return str(made["id"])


@pytest.fixture
def monthly(shop: Shop) -> Shop:
    """Contracts are changed from the next billing cycle on."""
    return shop.with_plan("workspace_business", contract_kind="monthly")


@pytest.fixture
def two_kinds(shop: Shop) -> Shop:
    """Monthly contracts over Base and Voice seats."""
    return shop.with_plan("agency", policy=SeatPolicy.CONTRACT, contract_kind="monthly")
