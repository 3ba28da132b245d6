"""What the tests of this room share."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from reconcile.database import build_sessions
from reconcile.settings import Settings
from tests.support.services import environment
from tests.support.workshop import Workshop


@pytest.fixture
def workshop(
    tmp_path: Path,
    engine: Engine,
    database_url: str,
    redis_url: str,
    make_settings: Callable[..., Settings],
) -> Iterator[Workshop]:
    """A workshop with nothing running in it yet; hints last a second."""
    settings = make_settings(database_url=database_url, redis_url=redis_url)
    env = os.environ | environment(settings) | {"TRUEUP_HINT_LEASE_S": "1"}
    shop = Workshop(tmp_path, dict(env), build_sessions(engine))
    yield shop
    shop.stop()
