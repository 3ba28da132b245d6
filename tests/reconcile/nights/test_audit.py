"""The gap audit, against the sandbox's own list of events: what no webhook told comes in."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import orjson
import pytest
from sqlalchemy import delete, func, select, update

from reconcile.envelope import WORKED_TYPES, Ours, read_event
from reconcile.errors import StripeUnavailable
from reconcile.nights import audit
from reconcile.services import Services
from reconcile.settings import Settings
from reconcile.tables import events, runs
from tests.support.inbox import change_event, the_event
from tests.support.sandbox import Sandbox
from tests.support.services import environment, running_services

NIGHT = date(2026, 3, 1)


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    with running_services(settings) as running:
        yield running


def customers_change(sandbox: Sandbox, times: int) -> None:
    """So many `customer.updated`, and no webhook endpoint that would tell us."""
    customer = sandbox.post("/v1/customers", {"email": "owner@example.com"})
    for number in range(times):
        sandbox.post(f"/v1/customers/{customer['id']}", {"description": f"version {number}"})


def inbox(services: Services) -> dict[str, str]:
    with services.sessions() as session:
        found = session.execute(select(events.c.id, events.c.source))
        return {row.id: row.source for row in found}


def test_what_no_webhook_told_comes_in_and_is_due(services: Services, sandbox: Sandbox) -> None:
    """on_call.gap_audit."""
    customers_change(sandbox, 3)
    report = audit.run(services, NIGHT)
    assert (report.state, report.report["missing"], report.report["pages"]) == ("done", 3, 2)
    assert set(inbox(services)) == set(report.report["brought_in"])
    assert set(inbox(services).values()) == {"backfill"}
    with services.sessions() as session:
        row = the_event(session, report.report["brought_in"][0])
    assert (row.state, row.type) == ("pending", "customer.updated")
    assert row.work_key.startswith("cus:cus_")
    assert row.due_at <= datetime.now(UTC)
    assert orjson.loads(row.payload)["data"]["object"]["email"] == "owner@example.com"


def test_what_is_there_is_not_touched(services: Services, sandbox: Sandbox) -> None:
    customers_change(sandbox, 2)
    first = audit.run(services, NIGHT)
    kept, lost = first.report["brought_in"]
    with services.sessions.begin() as session:
        change_event(session, kept, state="done", finished_at=func.now(), outcome="settled")
        session.execute(delete(events).where(events.c.id == lost))
    again = audit.run(services, NIGHT + timedelta(days=1))
    assert again.report["brought_in"] == [lost]
    with services.sessions() as session:
        row = the_event(session, kept)
    assert (row.state, row.outcome, row.deliveries) == ("done", "settled", 1)


def test_a_night_is_audited_once(services: Services, sandbox: Sandbox) -> None:
    customers_change(sandbox, 1)
    first = audit.run(services, NIGHT)
    calls = len(sandbox.observe("/calls")["calls"])
    assert audit.run(services, NIGHT) == first
    assert len(sandbox.observe("/calls")["calls"]) == calls


def test_one_that_is_killed_goes_on_behind_its_last_page(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    customers_change(sandbox, 150)
    code = (
        "from datetime import date; from reconcile.nights import audit;"
        "from reconcile.services import build_services;"
        "from reconcile.settings import Settings; from reconcile.budget import Unbudgeted;"
        "audit.run(build_services(Settings(), Unbudgeted()), date(2026, 3, 1))"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment(settings) | {"TRUEUP_CRASH_POINT": "after_page"},
        timeout=60,
        check=False,
        capture_output=True,
    )
    assert killed.returncode == -9, killed.stderr.decode()
    assert len(inbox(services)) == 100
    with services.sessions() as session:
        assert session.execute(select(runs.c.state)).scalar_one() == "running"
    report = audit.run(services, NIGHT)
    assert report.state == "done"
    assert (report.report["pages"], report.report["looked_at"]) == (3, 150)
    assert len(inbox(services)) == 150
    read = [call["path"] for call in sandbox.observe("/calls")["calls"]]
    assert read.count("/v1/events") == 3, "it began again"


def test_it_reaches_back_behind_the_last_one_whatever_night_that_was_of(
    services: Services, sandbox: Sandbox
) -> None:
    """A night of a clock that was wrong once would stay the last one for years."""
    customers_change(sandbox, 1)
    now = services.clock()
    for night, days in ((date(2036, 3, 1), 20), (NIGHT, 1)):
        audit.run(services, night)
        begun = update(runs).where(runs.c.night == night).values(started_at=now - timedelta(days))
        with services.sessions.begin() as session:
            session.execute(begun)
    report = audit.run(services, NIGHT + timedelta(days=1))
    assert datetime.fromisoformat(report.report["since"]) == now - timedelta(days=1) - audit.OVERLAP


def test_one_that_failed_is_done_from_its_start_by_hand(
    services: Services, sandbox: Sandbox
) -> None:
    """What came after it began is missing as well: who asks after an outage asks for all of it."""

    def fail(_looked_at: int, _missing: int) -> None:
        raise StripeUnavailable("after the first page")

    customers_change(sandbox, 150)
    assert audit.run(services, NIGHT, tell=fail).state == "failed"
    customers_change(sandbox, 1)
    report = audit.run(services, NIGHT, again=True)
    assert (report.state, report.report["looked_at"]) == ("done", 151)
    assert len(inbox(services)) == 151


def test_stripe_being_away_is_told_and_tried_again(services: Services, sandbox: Sandbox) -> None:
    customers_change(sandbox, 1)
    sandbox.control("/faults", {"kind": "server_error", "path": "/v1/events"})
    failed = audit.run(services, NIGHT)
    assert failed.state == "failed"
    assert "Stripe" in failed.report["error"]
    assert inbox(services) == {}


@pytest.mark.parametrize("event_type", WORKED_TYPES)
def test_what_is_asked_for_is_what_the_door_takes_for_work(event_type: str) -> None:
    thing = {"id": "x_1", "customer": "cus_1", "subscription": "sub_1"}
    event = {
        "id": "evt_1",
        "object": "event",
        "type": event_type,
        "livemode": False,
        "created": 1_700_000_000,
        "data": {"object": thing},
    }
    row = read_event(orjson.dumps(event), Ours(False, "", "organization_id"), source="backfill")
    assert (row.state, row.reason) == ("pending", None)
