"""A row is found by any of the names that somebody on call may have in hand."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import Session, sessionmaker

from reconcile.store import look
from reconcile.store.look import Filters
from tests.support.inbox import an_event
from tests.support.roster import add_organization

NOW = datetime.now(UTC)


@pytest.fixture
def find(sessions: sessionmaker[Session]) -> Callable[..., list[str]]:
    """Three events, one of them ours; finds their ids."""
    with sessions.begin() as session:
        add_organization(session, "org_1", plan="agency", customer_id="cus_1")
        an_event(session, id="evt_of_another", customer_id="cus_2", subscription_id="sub_2")
        an_event(
            session,
            id="evt_wanted",
            state="dead",
            object_id="in_1",
            subscription_id="sub_1",
            customer_id="cus_1",
            error_class="permanent",
            error_fingerprint="Boom@work",
            reason="boom",
            received_at=NOW - timedelta(hours=1),
        )

    def found(**filters: object) -> list[str]:
        with sessions() as session:
            page = look.events_page(session, Filters(**filters), limit=10)  # type: ignore[arg-type] # by name
            return [event.id for event in page]

    return found


@pytest.mark.parametrize(
    "names",
    [
        {"object_id": "evt_wanted"},
        {"object_id": "in_1"},
        {"object_id": "sub_1"},
        {"object_id": "cus_1"},
        {"subscription_id": "sub_1"},
        {"customer_id": "cus_1"},
        {"organization_id": "org_1"},
        {"state": "dead"},
        {"not_states": ("pending", "ignored")},
        {"fingerprint": "Boom@work"},
        {"until": NOW - timedelta(minutes=30)},
    ],
    ids=lambda names: next(iter(names.items()))[0],
)
def test_an_event_is_found_by_whatever_it_names(
    find: Callable[..., list[str]], names: dict[str, object]
) -> None:
    """on_call.find."""
    assert find(**names) == ["evt_wanted"]


def test_it_says_in_one_line_what_happened(
    find: Callable[..., list[str]], sessions: sessionmaker[Session]
) -> None:
    """on_call.find."""
    with sessions() as session:
        event = look.event(session, "evt_wanted")
    assert event is not None
    assert event.line == "boom"
