"""The schedule: each task at its hour, once a night, missed nights made up for."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as hour
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import func, select

from bench import nightly_world as world
from reconcile.errors import ShuttingDown
from reconcile.services import Services
from reconcile.settings import Settings
from reconcile.store import runs as store
from reconcile.tables import runs
from tests.support.sandbox import Sandbox
from tests.support.services import environment, running_services
from tests.support.shop import create_price
from tests.support.workshop import eventually
from worker import alive
from worker.alive import signs_of_life
from worker.queues import Queue
from worker.schedule import NAME, Schedule, Task, latest_night, tasks

AT = hour(2, 30)
NOON = datetime(2026, 3, 5, 12, 0, tzinfo=UTC)
SCHEDULE = (
    "from reconcile.settings import Settings; from worker.schedule import main; main(Settings())"
)


class Clock:
    """A clock that is set."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def services(
    make_settings: Callable[..., Settings], database_url: str, clock: Clock
) -> Iterator[Services]:
    with running_services(make_settings(database_url=database_url)) as running:
        yield replace(running, clock=clock)


def ran(services: Services, night: date, state: str = "done", task: str = "nightly") -> None:
    with services.sessions.begin() as session:
        run = store.begin(session, task, night, writes=False)
        if state != "running":
            store.finish(session, run.id, state=state, report={})


def a_task(nights: list[date], state: str = "done") -> Task:
    """A task that notes its nights, as the real ones do in `runs`."""

    def run(services: Services, night: date) -> str:
        nights.append(night)
        ran(services, night, state)
        return state

    return Task("nightly", AT, run)


@pytest.mark.parametrize(
    ("now", "night"),
    [
        (datetime(2026, 3, 5, 2, 29, tzinfo=UTC), date(2026, 3, 4)),
        (datetime(2026, 3, 5, 2, 30, tzinfo=UTC), date(2026, 3, 5)),
        (datetime(2026, 3, 5, 23, 59, tzinfo=UTC), date(2026, 3, 5)),
    ],
)
def test_a_night_has_the_date_on_which_its_hour_struck(now: datetime, night: date) -> None:
    assert latest_night(now, AT).date() == night


def test_a_fresh_installation_waits_for_its_first_night(services: Services, clock: Clock) -> None:
    nights: list[date] = []
    task = a_task(nights)
    schedule = Schedule(services, (task,))
    assert schedule.due(task) is None
    clock.now = datetime(2026, 3, 6, 2, 31, tzinfo=UTC)
    assert schedule.due(task) == date(2026, 3, 6)


def test_what_was_missed_while_no_schedule_ran_is_made_up_for(services: Services) -> None:
    ran(services, date(2026, 3, 3))
    task = a_task([])
    assert Schedule(services, (task,)).due(task) == date(2026, 3, 5)


@pytest.mark.parametrize(
    ("state", "due"), [("done", None), ("running", NOON.date()), ("failed", NOON.date())]
)
def test_a_night_is_over_only_when_it_is_done(
    services: Services, state: str, due: date | None
) -> None:
    ran(services, NOON.date(), state)
    task = a_task([])
    assert Schedule(services, (task,)).due(task) == due


@pytest.mark.parametrize(("may_write", "due"), [(True, NOON.date()), (False, None)])
def test_a_dry_run_is_not_the_night_that_may_write(
    services: Services, may_write: bool, due: date | None
) -> None:
    """A person looked before the hour struck; the repair is still to come."""
    ran(services, NOON.date())
    settings = services.settings.model_copy(update={"nightly_writes": may_write})
    (nightly,) = (task for task in tasks(settings) if task.name == "nightly")
    assert Schedule(services, (nightly,)).due(nightly) == due


def test_a_night_ahead_of_the_clock_does_not_stop_the_ones_before_it(services: Services) -> None:
    """A clock that was wrong once, or a person's date: the schedule must not wait for years."""
    ran(services, date(2026, 3, 4))
    ran(services, date(2036, 3, 5))
    task = a_task([])
    assert Schedule(services, (task,)).due(task) == NOON.date()


def test_a_failure_is_tried_again_later_the_same_night(services: Services, clock: Clock) -> None:
    ran(services, date(2026, 3, 4))
    nights: list[date] = []
    schedule = Schedule(services, (a_task(nights, "failed"),))
    schedule.look()
    schedule.look()
    assert len(nights) == 1
    clock.now += timedelta(minutes=11)
    schedule.look()
    assert nights == [NOON.date()] * 2


def test_a_task_that_breaks_keeps_no_other_from_its_turn(services: Services) -> None:
    def broken(services: Services, night: date) -> str:
        raise ZeroDivisionError

    for task in ("prune", "nightly"):
        ran(services, date(2026, 3, 4), task=task)
    nights: list[date] = []
    Schedule(services, (Task("prune", AT, broken), a_task(nights))).look()
    assert nights == [NOON.date()]


def test_every_task_of_the_runs_table_has_its_hour(settings: Settings) -> None:
    assert [task.name for task in tasks(settings)] == ["nightly", "gap_audit", "prune"]


def missed_nights(services: Services) -> None:
    before = datetime.now(UTC).date() - timedelta(days=2)
    for task in ("nightly", "gap_audit", "prune"):
        ran(services, before, task=task)


def finished(services: Services) -> int:
    with services.sessions() as session:
        counted = select(func.count()).select_from(runs).where(runs.c.state == "done")
        return session.execute(counted).scalar_one()


def calls(sandbox: Sandbox) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sandbox.observe("/calls")["calls"]
    return found


def test_two_schedules_do_a_nights_work_once(settings: Settings, sandbox: Sandbox) -> None:
    with running_services(settings) as services:
        for price in services.catalog.prices():
            create_price(sandbox, price)
        missed_nights(services)
        # Half a day away from the tasks' hour: no night begins while the test runs.
        hours_off = (datetime.now(UTC) + timedelta(hours=12)).strftime("%H:%M")
        at = {"TRUEUP_NIGHTLY_AT": hours_off, "TRUEUP_GAP_AUDIT_AT": hours_off}
        env = os.environ | environment(settings) | at
        both = [subprocess.Popen([sys.executable, "-c", SCHEDULE], env=env) for _ in range(2)]
        queue = Queue(settings)
        try:
            eventually(lambda: queue.alive(NAME) == 2)
            eventually(lambda: finished(services) == 6)
            time.sleep(0.5)
        finally:
            for process in both:
                process.send_signal(signal.SIGTERM)
            ended = [process.wait(timeout=60) for process in both]
    assert ended == [0, 0]
    read = [call["path"] for call in calls(sandbox)]
    assert read.count("/v1/events") == 2, json.dumps(read)
    assert read.count("/v1/subscriptions") == 1


@pytest.fixture
def hanging_stripe() -> Iterator[socket.socket]:
    """A Stripe that takes the call and does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        yield server


def test_a_schedule_that_waits_for_stripe_ends_when_it_is_told(
    make_settings: Callable[..., Settings],
    database_url: str,
    redis_url: str,
    tmp_path: Path,
    hanging_stripe: socket.socket,
) -> None:
    """Not after the call's time-out, and the five tries after that."""
    settings = make_settings(
        database_url=database_url,
        redis_url=redis_url,
        stripe_api_base=f"http://127.0.0.1:{hanging_stripe.getsockname()[1]}",
        catalog_path=world.write_catalog(tmp_path / "catalog.toml", world.Prices("p_1", "p_2")),
    )
    with running_services(settings) as services:
        missed_nights(services)
        process = subprocess.Popen(
            [sys.executable, "-c", SCHEDULE],
            env=os.environ | environment(settings) | {"TRUEUP_STRIPE_TIMEOUT_S": "120"},
        )
        try:
            asked, _ = hanging_stripe.accept()
            with asked:
                process.send_signal(signal.SIGTERM)
                assert process.wait(timeout=60) == 0
        finally:
            process.kill()
            process.wait()
        with services.sessions() as session:
            left = store.latest(session, "nightly", until=datetime.now(UTC).date())
        assert left
        assert left.state == "running"


# The first interruption is lost, as when the signal comes just before a wait in C.
LOSES_ONE = """
import sys, time
from worker import schedule
from reconcile.errors import ShuttingDown
from reconcile.settings import Settings

def hang(services, night):
    try:
        print("at it", flush=True)
        time.sleep(600)
    except ShuttingDown:
        time.sleep(600)

schedule.TOLD_AGAIN_S = 0.2
schedule.tasks = lambda settings: (schedule.Task("nightly", settings.nightly_at, hang),)
schedule.main(Settings())
"""


def test_a_schedule_that_misses_a_signal_is_told_again(settings: Settings, tmp_path: Path) -> None:
    catalog = world.write_catalog(tmp_path / "catalog.toml", world.Prices("p_1", "p_2"))
    settings = settings.model_copy(update={"catalog_path": catalog})
    with running_services(settings) as services:
        missed_nights(services)
        process = subprocess.Popen(
            [sys.executable, "-c", LOSES_ONE],
            env=os.environ | environment(settings),
            stdout=subprocess.PIPE,
        )
        with process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == b"at it\n"
                process.send_signal(signal.SIGTERM)
                assert process.wait(timeout=60) == 0
            finally:
                process.kill()


def test_a_schedule_is_alive_while_a_task_takes_its_time(
    settings: Settings, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sign is shown again and again: one that ran out is back with the next."""
    monkeypatch.setattr(alive, "BEAT_S", 0.05)
    queue = Queue(settings)
    with signs_of_life(settings, NAME):
        for _ in range(3):
            eventually(lambda: queue.alive(NAME) == 1)
            redis_client.flushdb()


def test_a_schedule_that_is_told_to_end_is_not_taken_for_a_living_one(settings: Settings) -> None:
    queue = Queue(settings)
    with suppress(ShuttingDown), signs_of_life(settings, NAME):
        eventually(lambda: queue.alive(NAME) == 1)
        raise ShuttingDown
    assert queue.alive(NAME) == 0


def test_a_queue_that_is_away_keeps_nobody_from_the_nights_work(
    make_settings: Callable[..., Settings],
) -> None:
    with signs_of_life(make_settings(redis_url="redis://127.0.0.1:1"), NAME):
        time.sleep(0.2)
