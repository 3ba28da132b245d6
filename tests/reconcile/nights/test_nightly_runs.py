"""A night over several pages: killed and gone on with, run by two at once, counted in calls."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text, update

from bench import nightly_world as world
from reconcile.nights import nightly
from reconcile.nights.report import Progress, Report
from reconcile.services import Services
from reconcile.settings import Settings
from reconcile.tables import adjustments, runs
from tests.support.sandbox import Sandbox
from tests.support.services import environment, running_services

ROOT = Path(__file__).parents[3]
NIGHT = date(2026, 3, 1)
SUBSCRIPTIONS = 350  # four pages
DRIFT_EVERY = 50

RUN = """
import sys
from datetime import date
import orjson
from reconcile import log
from reconcile.nights import nightly
from reconcile.nights.report import Progress
from reconcile.settings import Settings
from tests.support.services import running_services
settings = Settings()
log.configure(settings)
with running_services(settings) as services:
    print("ready", flush=True); sys.stdin.readline()
    report = nightly.run(services, date.fromisoformat(sys.argv[1]), writes=True)
    print(orjson.dumps(report.as_json()).decode(), flush=True)
"""


@pytest.fixture
def many(settings: Settings, sandbox: Sandbox, engine: Engine, tmp_path: Path) -> Settings:
    """Settings of a world of many subscriptions, some of them drifted."""
    prices = world.create_prices(sandbox.url)
    world.seed_sandbox(sandbox.url, prices, SUBSCRIPTIONS, drift_every=DRIFT_EVERY)
    world.seed_database(engine, prices, SUBSCRIPTIONS)
    catalog = world.write_catalog(tmp_path / "catalog.toml", prices)
    return settings.model_copy(update={"catalog_path": catalog, "retry_base_s": 0.05})


@pytest.fixture
def services(many: Settings) -> Iterator[Services]:
    with running_services(many) as built:
        yield built


def process(settings: Settings, **variables: str) -> subprocess.Popen[str]:
    """A process that waits for a word and then runs the night."""
    started = subprocess.Popen(
        [sys.executable, "-c", RUN, NIGHT.isoformat()],
        env=os.environ | environment(settings) | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert started.stdout
    assert started.stdout.readline() == "ready\n"
    return started


def go(*started: subprocess.Popen[str]) -> list[Report | None]:
    """Let them run at the same moment; None for one that died."""
    for each in started:
        assert each.stdin
        each.stdin.write("go\n")
        each.stdin.flush()
    said = [each.communicate(timeout=100)[0] for each in started]
    return [Report.of_json(NIGHT, json.loads(text)) if text else None for text in said]


def list_calls(sandbox: Sandbox) -> int:
    found = sandbox.observe("/calls?method=GET&path=/v1/subscriptions&limit=1000")["calls"]
    return len([call for call in found if call["path"] == "/v1/subscriptions"])


def test_calls_are_a_page_each_and_three_a_drift(services: Services, sandbox: Sandbox) -> None:
    before = sandbox.observe("/calls")["total"]
    report = nightly.run(services, NIGHT, writes=True)
    drifted = SUBSCRIPTIONS // DRIFT_EVERY
    assert report.differing == {"quantity": drifted}
    assert (report.pages, report.settled, report.failed) == (4, drifted, 0)
    assert sandbox.observe("/calls")["total"] - before <= 4 + 3 * drifted
    assert report.adjustments == {"applied": drifted}


@pytest.mark.parametrize("place", ["after_page", "after_call", "after_batch"])
def test_a_killed_run_goes_on_where_it_was(
    place: str, many: Settings, services: Services, sandbox: Sandbox, tmp_path: Path
) -> None:
    died = process(many, TRUEUP_CRASH_POINT=f"{place}:{tmp_path / 'died'}")
    assert go(died) == [None]
    assert died.returncode == -signal.SIGKILL
    with services.sessions() as session:
        left = session.execute(select(runs)).one()
    assert left.state == "running"
    assert left.cursor.startswith("pages:" if place == "after_page" else "settling:")
    before = list_calls(sandbox)
    report = nightly.run(services, NIGHT, writes=True)
    assert (report.state, report.pages, report.subscriptions) == ("done", 4, SUBSCRIPTIONS)
    assert list_calls(sandbox) - before == (3 if place == "after_page" else 0)
    raised_once(services, sandbox)


def raised_once(services: Services, sandbox: Sandbox) -> None:
    """Every drifted subscription was raised back, and charged once."""
    drifted = [f"sub_seed{n:08d}" for n in range(DRIFT_EVERY, SUBSCRIPTIONS + 1, DRIFT_EVERY)]
    with services.sessions() as session:
        rows = session.execute(select(adjustments.c.subscription_id, adjustments.c.state))
        assert sorted(map(tuple, rows)) == [(each, "applied") for each in drifted]
    for each in drifted:
        found = sandbox.get(f"/v1/subscriptions/{each}")
        assert [item["quantity"] for item in found["items"]["data"]] == [1, 2]
        assert len(sandbox.get("/v1/invoices", subscription=each)["data"]) == 1


def test_a_crash_of_the_database_makes_it_read_the_pages_again(
    many: Settings, services: Services, sandbox: Sandbox, tmp_path: Path
) -> None:
    go(process(many, TRUEUP_CRASH_POINT=f"after_page:{tmp_path / 'died'}"))
    with services.sessions.begin() as session:
        session.execute(text("truncate nightly_seen"))  # what unlogged tables do
    report = nightly.run(services, NIGHT, writes=True)
    assert (report.pages, report.subscriptions) == (4, SUBSCRIPTIONS)
    assert sum(report.differing.values()) == SUBSCRIPTIONS // DRIFT_EVERY


def test_two_on_the_same_night_do_the_work_once(
    many: Settings, services: Services, sandbox: Sandbox
) -> None:
    said = go(process(many), process(many))
    assert sorted(report.state for report in said if report) in (
        ["done", "done"],
        ["done", "elsewhere"],
    )
    assert list_calls(sandbox) == 4
    raised_once(services, sandbox)


def test_a_failed_night_says_why_and_goes_on_when_called_again(
    services: Services, sandbox: Sandbox
) -> None:
    sandbox.control(
        "/faults",
        {"kind": "server_error", "method": "GET", "path": "/v1/subscriptions", "times": 20},
    )
    with pytest.raises(Exception, match="Stripe could not be reached"):
        nightly.run(services, NIGHT)
    with services.sessions() as session:
        left = session.execute(select(runs)).one()
    assert left.state == "failed"
    assert "Stripe could not be reached" in left.report["error"]
    sandbox._answer("DELETE", "/_sandbox/faults")
    report = nightly.run(services, NIGHT)
    assert (report.state, report.error, report.pages) == ("done", None, 4)


def test_a_rate_limit_in_the_middle_is_waited_out(services: Services, sandbox: Sandbox) -> None:
    sandbox.control(
        "/faults",
        {"kind": "rate_limit", "method": "GET", "path": "/v1/subscriptions", "times": 2},
    )
    assert nightly.run(services, NIGHT).subscriptions == SUBSCRIPTIONS


def test_the_hosts_view_is_compared_in_the_same_way(
    many: Settings, engine: Engine, sandbox: Sandbox
) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "create view public.host_seats as select organization_id, seat_type, "
                "status = 'active' as active from members"
            )
        )
        # One more active Voice member than there are seats; the host tells nobody.
        connection.execute(
            text(
                "insert into members (organization_id, id, role, seat_type, status) select "
                "'org_00000001', n::text, 'member', 'voice', 'active' from generate_series(1, 2) n"
            )
        )
    try:
        hosted = many.model_copy(update={"roster_view": "public.host_seats"})
        with running_services(hosted) as services:
            report = nightly.run(services, NIGHT, writes=False)
    finally:
        with engine.begin() as connection:
            connection.execute(text("drop view public.host_seats"))
    assert report.differing == {
        "active count": 1,
        "quantity": SUBSCRIPTIONS // DRIFT_EVERY,
    }
    assert report.would_change == SUBSCRIPTIONS // DRIFT_EVERY


def test_a_finished_nights_cursor_and_progress_are_told(services: Services) -> None:
    seen: list[Progress] = []
    nightly.run(services, NIGHT, writes=False, tell=seen.append)
    assert [p.done for p in seen if p.phase == "reading"] == [100, 200, 300, 350]
    assert seen[-1] == Progress("settling", 7, 7)


def test_an_old_dry_run_is_forgotten_when_the_night_may_write(services: Services) -> None:
    assert nightly.run(services, NIGHT).writes is False  # the setting's default
    with services.sessions.begin() as session:
        session.execute(update(runs).values(state="running", cursor="settling:"))
    written = nightly.run(services, NIGHT, writes=True)
    assert (written.writes, written.pages) == (True, 4)
