"""`trueup relay`: hints the queue for every inbox row that is due. One way in, no special case.

New rows, retries whose delay is over, rows whose worker died, a queue that was emptied: to the
relay they are all the same, rows with `due_at` in the past. It polls (see the decision on it) and
keeps the queue short: what does not fit waits in the inbox, in order. Any number may run.
"""

import signal
import time
from contextlib import suppress
from datetime import timedelta
from types import FrameType

import structlog
from redis import RedisError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from reconcile import log, metrics, tracing
from reconcile.crash_points import CrashPoint, crash_point
from reconcile.database import build_engine, build_sessions
from reconcile.settings import Settings
from reconcile.store import work as store
from worker.queues import BEAT_S, Queue
from worker.standing import StandingCollector

NAME = "relay"
LONGEST_PAUSE_S = 5.0
# So many notices are hinted while nothing else waits, and none while more does: there may be
# thousands of them and the host slow, and whatever comes next stands behind those that are hinted.
NOTICES_AHEAD = 10


def hint_due(sessions: sessionmaker[Session], queue: Queue, settings: Settings) -> int:
    """Hint up to `relay_batch` due work keys, less what still waits, and return how many.

    Seats go first: never more than a few notices are in front of what comes next.
    The rows are put off in the same transaction that hints: when the queue is away, they are due
    as before. Raises RedisError and SQLAlchemyError.
    """
    waiting = queue.depth()
    metrics.QUEUE_DEPTH.set(waiting)
    room = settings.relay_batch - waiting
    if room <= 0:
        return 0
    with sessions.begin() as session:
        lease = timedelta(seconds=settings.hint_lease_s)
        taken = store.take_due(session, limit=room, lease=lease, notices=False)
        left = min(room, NOTICES_AHEAD - waiting) - len(taken)
        if left > 0:
            taken += store.take_due(session, limit=left, lease=lease, notices=True)
        queue.hint([due.work_key for due in taken])
        if taken:
            crash_point(CrashPoint.AFTER_HINT)
    metrics.HINTED.inc(len(taken))
    metrics.RESCUED.inc(sum(due.rescued for due in taken))
    for due in taken:
        if due.traceparent:
            with tracing.span("hint", parent=due.traceparent, work_key=due.work_key):
                pass
    return len(taken)


class Relay:
    """The loop of one relay process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = build_engine(settings.database_url, pool_size=1)
        self._sessions = build_sessions(self._engine)
        self._queue = Queue(settings)
        # No threading.Event: the handler of a signal would wait for a lock of the wait it came in.
        self._stopping = False
        self._shows_again = 0.0
        self._log = structlog.get_logger()

    def run(self) -> None:
        """Relay until `stop` is called; whatever is away is waited for."""
        failures = 0
        while not self._stopping:
            try:
                hinted = hint_due(self._sessions, self._queue, self._settings)
                self._show_life()
            except (RedisError, SQLAlchemyError) as error:
                failures += 1
                self._tell(error, failures)
                pause_s = min(self._settings.relay_poll_s * 2 ** min(failures, 10), LONGEST_PAUSE_S)
            else:
                if failures:
                    self._log.info("relaying again", failures=failures)
                failures = 0
                pause_s = 0.0 if hinted else self._settings.relay_poll_s
            if pause_s:
                time.sleep(pause_s)
        with suppress(RedisError):
            self._queue.gone(NAME)
        self._queue.close()
        self._engine.dispose()

    def stop(self) -> None:
        """End after the round in hand, and the pause after it."""
        self._stopping = True

    def _show_life(self) -> None:
        now = time.monotonic()
        if now >= self._shows_again:
            self._queue.sign_of_life(NAME)
            self._shows_again = now + BEAT_S

    def _tell(self, error: Exception, failures: int) -> None:
        what = "queue" if isinstance(error, RedisError) else "database"
        metrics.RELAY_ERRORS.labels(what=what).inc()
        if failures == 1:
            self._log.warning("cannot relay, trying on", what=what, error=str(error)[:300])


def main(settings: Settings) -> None:
    """Relay until SIGTERM or SIGINT."""
    log.configure(settings)
    tracing.configure(settings, "relay")
    standing = StandingCollector(settings)
    metrics.serve(settings, standing)
    relay = Relay(settings)

    def stop(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        relay.stop()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    structlog.get_logger().info("relay started")
    relay.run()
    structlog.get_logger().info("relay ended")
    standing.close()
    tracing.stop()
