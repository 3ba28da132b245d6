"""`trueup schedule`: the nightly run, the gap audit and the pruning, each at its hour, in UTC.

A night's work is done once however many schedules and crons there are: the tasks see to that
themselves. What was missed while no schedule ran is made up for; a fresh installation waits for
its first night. A task that fails is called again later the same night and goes on where it was.
"""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from time import sleep
from types import FrameType

import structlog

from reconcile import log, metrics, tracing
from reconcile.errors import ShuttingDown
from reconcile.nights import audit, nightly, prune
from reconcile.nights.threads import GRACE_S
from reconcile.services import Services, open_services
from reconcile.settings import Settings
from reconcile.store import runs
from worker.alive import signs_of_life
from worker.budget import SharedBudget

NAME = "schedule"
LOOK_S = 20.0

# After a failure, and while another process is at it.
AGAIN = timedelta(minutes=10)

# A signal that comes just before the main thread waits in C interrupts nothing: Python runs its
# handler when the wait is over. So it is told again; a task that ends in order has ended by then.
TOLD_AGAIN_S = GRACE_S + 1


@dataclass(frozen=True, slots=True)
class Task:
    """What runs once a night, from which hour; `run` returns how it ended.

    One that `writes` is not done by a dry run of the night.
    """

    name: str
    at: time
    run: Callable[[Services, date], str]
    writes: bool = False


def tasks(settings: Settings) -> tuple[Task, ...]:
    """Return all tasks, in the order they run when several are due."""
    return (
        Task(
            nightly.TASK,
            settings.nightly_at,
            lambda s, night: nightly.run(s, night).state,
            writes=settings.nightly_writes,
        ),
        Task(audit.TASK, settings.gap_audit_at, lambda s, night: audit.run(s, night).state),
        Task(prune.TASK, settings.gap_audit_at, lambda s, night: prune.run(s, night).state),
    )


def latest_night(now: datetime, at: time) -> datetime:
    """Return the last time it was `at` o'clock, UTC; its date is the night's name."""
    today = datetime.combine(now.astimezone(UTC).date(), at, tzinfo=UTC)
    return today if today <= now else today - timedelta(days=1)


class Schedule:
    """The loop of one schedule process."""

    def __init__(self, services: Services, found: tuple[Task, ...]) -> None:
        self._services = services
        self._tasks = found
        self._began_at = services.clock()
        self._not_before: dict[str, datetime] = {}
        self._running = False
        self._log = structlog.get_logger()

    def run(self) -> None:
        """Run what is due until `stop` is called, by a signal: a task stops where it is."""
        self._running = True
        try:
            while True:
                self.look()
                sleep(LOOK_S)
        except ShuttingDown:
            self._log.info("schedule ended, a task in hand goes on from there next time")
        finally:
            self._running = False

    def stop(self) -> None:
        """Interrupt `run`, wherever it is. To be called in its thread, and again if it went on."""
        if self._running:
            raise ShuttingDown

    def look(self) -> None:
        """Run each task that is due now."""
        for task in self._tasks:
            self._look_at(task)

    def due(self, task: Task) -> date | None:
        """Return the night the task has still to do, or None."""
        now = self._services.clock()
        if now < self._not_before.get(task.name, now):
            return None
        moment = latest_night(now, task.at)
        with self._services.sessions() as session:
            last = runs.latest(session, task.name, until=moment.date())
        if last is None:
            return moment.date() if moment >= self._began_at else None
        dry = task.writes and not last.writes
        over = last.night == moment.date() and last.state == "done" and not dry
        return None if over else moment.date()

    def _look_at(self, task: Task) -> None:
        try:
            night = self.due(task)
            if night is None:
                return
            state = task.run(self._services, night)
        except Exception:  # noqa: BLE001 - one task's failure is not the next one's
            self._log.exception("the task could not run", task=task.name)
            state = "failed"
        if state != "done":
            self._not_before[task.name] = self._services.clock() + AGAIN


def main(settings: Settings) -> None:
    """Run the schedule until SIGTERM or SIGINT."""
    log.configure(settings)
    tracing.configure(settings, "schedule")
    metrics.serve(settings)
    services = open_services(settings, SharedBudget(settings))
    schedule = Schedule(services, tasks(settings))

    def stop(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        signal.setitimer(signal.ITIMER_REAL, TOLD_AGAIN_S)
        schedule.stop()

    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(each, stop)
    structlog.get_logger().info("schedule started")
    try:
        with signs_of_life(settings, NAME):
            schedule.run()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        services.close()
        tracing.stop()
