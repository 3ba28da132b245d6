"""Retention: bodies are redacted, then finished events go; what is not finished stays whole."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import select, text

from reconcile.envelope import Ours, read_event
from reconcile.nights import prune
from reconcile.seeing import snapshot_of
from reconcile.services import Services
from reconcile.settings import Settings
from reconcile.store import inbox, work
from reconcile.store import notices as store
from reconcile.tables import events
from tests.support.inbox import an_event
from tests.support.services import running_services
from tests.support.stripe_events import snapshot, subscription

NIGHT = date(2026, 3, 1)
OVER = ("done", "ignored", "superseded", "discarded")


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    short = {"keep_events_days": 31, "redact_events_days": 7}
    with running_services(settings.model_copy(update=short)) as running:
        yield running


def days_ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def bodies(services: Services) -> dict[str, bytes]:
    with services.sessions() as session:
        return {row[0]: row[1] for row in session.execute(select(events.c.id, events.c.payload))}


def test_old_finished_events_go_in_batches(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "BATCH", 2)
    old = days_ago(32)
    with services.sessions.begin() as session:
        for state in (*OVER, "done"):
            an_event(session, state=state, finished_at=old)
        kept = {
            an_event(session, state="dead", finished_at=old),
            an_event(session, state="done", finished_at=old + timedelta(days=2)),
            an_event(session, received_at=old),
            # The record of who asked for what.
            an_event(session, source="request", kind="request", state="done", finished_at=old),
        }
    report = prune.run(services, NIGHT).report
    assert report["deleted"] == 5
    assert set(bodies(services)) == kept


def test_no_setting_prunes_what_stripe_would_tell_again() -> None:
    with pytest.raises(ValueError, match="31"):
        Settings(keep_events_days=30)


# Whole values: a few letters or digits may stand in any id or time.
PERSONAL = (
    "Ann Lee",
    "call Ann",
    "@example",
    "+1 555",
    "Main St",
    "Springfield",
    '"4242"',
    '"exp_',
)


def a_full_event() -> dict[str, Any]:
    """One that holds all a customer is asked for."""
    event = snapshot("customer.subscription.updated", subscription())
    thing = event["data"]["object"]
    thing["metadata"] = {"organization_id": "org_1", "member_id": "mem_1", "note": "call Ann"}
    thing["description"] = "Ann Lee's seats"
    thing["customer"] = {
        "id": "cus_ann",
        "email": "ann@example.com",
        "name": "Ann Lee",
        "phone": "+1 555 0100",
        "address": {"line1": "1 Main St", "city": "Springfield"},
    }
    thing["default_payment_method"] = {
        "id": "pm_1",
        "card": {"last4": "4242", "exp_year": 2031},
        "billing_details": {"name": "Ann Lee"},
    }
    event["data"]["previous_attributes"] = {"items": {"data": [{"quantity": 5, "name": "Ann Lee"}]}}
    return event


def test_personal_data_goes_and_what_a_rerun_reads_stays(services: Services) -> None:
    event = a_full_event()
    body = orjson.dumps(event)
    with services.sessions.begin() as session:
        old = {"payload": body, "finished_at": days_ago(8)}
        over = {an_event(session, state=state, **old) for state in OVER}
        over.add(an_event(session, source="request", kind="request", state="done", **old))
        whole = {
            an_event(session, state="dead", **old),
            an_event(session, state="done", payload=body, finished_at=days_ago(6)),
            an_event(session, payload=body, received_at=days_ago(60)),
        }
    report = prune.run(services, NIGHT).report
    assert {name: count for name, count in report.items() if count} == {"redacted": 5}
    found = bodies(services)
    assert {each for each, kept in found.items() if kept == body} == whole
    for gone in PERSONAL:
        assert gone in body.decode(), gone
        assert all(gone not in found[each].decode() for each in over), gone
    redacted = found[over.pop()]
    ours = Ours.of(services.settings)
    before, after = (read_event(each, ours, source="backfill") for each in (body, redacted))
    for column in ("id", "type", "work_key", "customer_id", "organization_id", "state"):
        assert getattr(before, column) == getattr(after, column) is not None, column
    # The snapshot can still be read: quantities and prices are nobody's personal data.
    at = datetime.now(UTC)
    was, now = (snapshot_of(each, event["api_version"], at) for each in (body, redacted))
    assert was is not None
    assert now is not None
    assert was.subscription.items == now.subscription.items


def test_redacting_goes_on_until_nothing_is_left_and_is_done_once(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "BODIES", 2)
    with services.sessions.begin() as session:
        for _ in range(5):
            an_event(session, state="done", payload=b'{"email": "x"}', finished_at=days_ago(9))
    assert prune.run(services, NIGHT).report["redacted"] == 5
    assert prune.run(services, NIGHT + timedelta(days=1)).report["redacted"] == 0


@pytest.mark.parametrize("body", [b"", b"no JSON", b"\xff\x00", b"[" * 900 + b"]" * 900])
def test_what_cannot_be_read_is_emptied(body: bytes) -> None:
    assert prune.redacted_body(body, frozenset()) == b""


def test_a_redacted_event_is_known_when_it_is_delivered_again(services: Services) -> None:
    event = a_full_event()
    row = read_event(orjson.dumps(event), Ours.of(services.settings), source="webhook")
    with services.sessions.begin() as session:
        an_event(session, id=row.id, state="done", payload=row.payload, finished_at=days_ago(8))
    prune.run(services, NIGHT)
    with services.sessions.begin() as session:
        assert not work.missing(session, [row.id])
        inbox.accept(session.connection(), [row])
    with services.sessions() as session:
        found = session.execute(select(events.c.state, events.c.deliveries, events.c.payload)).one()
    assert (found.state, found.deliveries) == ("done", 2)
    assert b"Ann Lee" not in found.payload, "a redelivery brought the personal data back"


def a_notice(services: Services, occasion: str, *, delivered: datetime | None, state: str) -> str:
    """A notice and its request, as its delivery left them."""
    with services.sessions.begin() as session:
        notice_id = store.add(
            session, "member.changed", occasion, "moved", organization_id="org_1",
            due_at=services.clock(),
        )  # fmt: skip
        of_it = {"id": notice_id, "delivered_at": delivered, "state": state}
        session.execute(
            text("update notices set delivered_at = :delivered_at where id = :id"), of_it
        )
        over = ", finished_at = now()" if state != "pending" else ""
        session.execute(
            text(
                f"update events set state = :state{over} where id = "  # noqa: S608 - ours
                "(select request_id from notices where id = :id)"
            ),
            of_it,
        )
    assert notice_id is not None
    return notice_id


def test_a_notice_goes_with_its_request_long_after_it_was_delivered(services: Services) -> None:
    old = days_ago(401)
    a_notice(services, "1", delivered=old, state="done")
    kept = {
        # Within a yearly period it would be told again.
        a_notice(services, "2", delivered=days_ago(399), state="done"),
        a_notice(services, "3", delivered=None, state="dead"),
        a_notice(services, "4", delivered=None, state="ignored"),
        # Requeued: the host has asked for it once more.
        a_notice(services, "5", delivered=old, state="pending"),
    }
    assert prune.run(services, NIGHT).report["notices"] == 1
    with services.sessions() as session:
        rows = store.page(session)
    assert {each.id for each in rows} == kept
    assert set(bodies(services)) == {each.request_id for each in rows}
