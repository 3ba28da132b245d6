"""A sandbox of its own for every test here, and a client that checks every answer."""

from collections.abc import Iterator

import pytest

from tests.sandbox.client import Api, Box, running_box


@pytest.fixture
def box() -> Iterator[Box]:
    """A running, empty sandbox; webhooks are tried again at once."""
    with running_box() as running:
        yield running


@pytest.fixture
def api(box: Box) -> Iterator[Api]:
    """Stripe's API on that sandbox."""
    client = Api(box.url)
    yield client
    client.close()
