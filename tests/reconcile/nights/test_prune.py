"""Pruning: finished events go after their time, the rest stays."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select

from reconcile.nights import prune
from reconcile.services import Services
from reconcile.settings import Settings
from reconcile.tables import events
from tests.support.inbox import an_event
from tests.support.services import running_services

NIGHT = date(2026, 3, 1)


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    with running_services(settings.model_copy(update={"keep_events_days": 31})) as running:
        yield running


def test_old_finished_events_go_in_batches(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "BATCH", 2)
    old = datetime.now(UTC) - timedelta(days=32)
    with services.sessions.begin() as session:
        for _ in range(5):
            an_event(session, state="done", finished_at=old)
        kept = {
            an_event(session, state="dead", finished_at=old),
            an_event(session, state="done", finished_at=old + timedelta(days=2)),
            an_event(session, received_at=old),
            # The record of who asked for what.
            an_event(session, source="request", kind="request", state="done", finished_at=old),
        }
    assert prune.run(services, NIGHT).report == {"deleted": 5}
    with services.sessions() as session:
        assert set(session.scalars(select(events.c.id))) == kept


def test_no_setting_prunes_what_stripe_would_tell_again() -> None:
    with pytest.raises(ValueError, match="31"):
        Settings(keep_events_days=30)
