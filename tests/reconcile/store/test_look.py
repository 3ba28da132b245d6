"""A row is found by any of the names that somebody on call may have in hand."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert
from sqlalchemy.orm import Session, sessionmaker

from reconcile.store import look
from reconcile.store.look import Filters
from reconcile.tables import subscriptions
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


def test_an_organization_has_events_by_each_of_its_names(sessions: sessionmaker[Session]) -> None:
    """Its requests, those of all its subscriptions, those of its customer; and nobody else's."""
    held = {"customer_id": "cus_9", "status": "active", "currency": "usd", "as_of": NOW}
    with sessions.begin() as session:
        add_organization(session, "org_1", customer_id="cus_1")
        add_organization(session, "org_2")
        rows = [
            held | {"id": f"sub_{n}", "organization_id": f"org_{n // 3 + 1}"} for n in (1, 2, 3)
        ]
        session.execute(insert(subscriptions), rows)
        wanted = {
            an_event(session, subscription_id="sub_1"),
            an_event(session, subscription_id="sub_2"),
            an_event(session, customer_id="cus_1"),
            an_event(session, source="request", kind="request", organization_id="org_1"),
        }
        other = an_event(session, subscription_id="sub_3")
        an_event(session, customer_id="cus_9")
    for organization_id, expected in (("org_1", wanted), ("org_2", {other}), ("org_3", set())):
        with sessions() as session:
            whose = Filters(organization_id=organization_id)
            found = {event.id for event in look.events_page(session, whose, limit=10)}
        assert found == expected, organization_id


def test_it_says_in_one_line_what_happened(
    find: Callable[..., list[str]], sessions: sessionmaker[Session]
) -> None:
    """on_call.find."""
    with sessions() as session:
        event = look.event(session, "evt_wanted")
    assert event is not None
    assert event.line == "boom"
