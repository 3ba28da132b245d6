"""`trueup worker`: RQ's worker loop with our jobs run in its own process, under a supervisor.

A fork for each job would be the safer half of RQ, and costs most of the throughput (see
bench/jobs.py). What the fork was for is done otherwise: a hanging job by an alarm and, when that
does not help, by the supervisor; a crash by the inbox's rows, which come due again.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from types import FrameType

import structlog
from redis import RedisError
from rq import Queue, SimpleWorker, worker_registration
from rq.exceptions import DeserializationError, StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker.base import WorkerStatus

from reconcile import error_reports, log, metrics, tracing
from reconcile.budget import Budget
from reconcile.errors import TrueupError
from reconcile.services import Services, open_services
from reconcile.settings import Settings
from reconcile.settling.work import WorkReport, work_off
from worker import jobs
from worker.budget import SharedBudget
from worker.deadline import Lease
from worker.queues import NAME, connect
from worker.supervisor import Supervisor

# RQ blocks for this long less 15 s, and expires a worker's record 60 s after it.
WORKER_TTL_S = 20
MAINTENANCE_S = 60
LISTED_S = 5.0
# Between two signs of life of an idle worker: one blocking read and its time-out, with room.
IDLE_LEASE_S = 60.0

Work = Callable[[Services, str], WorkReport]
Open = Callable[[Settings, Budget], Services]


class InProcessWorker(SimpleWorker):
    """RQ's loop at our desk: it takes hints off the queue, we do the rest.

    RQ's way of running a job would import whatever name the job carries, and its callbacks, and
    keep books that the inbox has already. Here a job is a name out of `jobs.JOBS` or refused.
    """

    max_connection_wait_time = 5.0
    desk: jobs.Desk
    _listed_at = 0.0

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run what the hint names, in this process."""
        with self.connection.pipeline() as pipeline:
            self.set_state(WorkerStatus.BUSY, pipeline=pipeline)
            pipeline.lrem(queue.intermediate_queue_key, 1, job.id)
            pipeline.delete(job.key)
            pipeline.execute()
        try:
            run, arguments = jobs.JOBS.get(str(job.func_name)), job.args
        except DeserializationError:
            run, arguments = None, ()
        if run is None or len(arguments) != 1 or not isinstance(arguments[0], str):
            structlog.get_logger().error("refused a job that is not ours", job=job.id)
            return
        with log.about(job=job.id):
            run(arguments[0])

    def run_maintenance_tasks(self) -> None:
        """Forget the hints of workers that died; their rows come due again without them.

        RQ's own maintenance runs callbacks by name, and looks after books that are not kept.
        """
        for queue in self.queues:
            self.connection.delete(queue.intermediate_queue_key)
        self.last_cleaned_at = datetime.now(UTC)  # type: ignore[assignment] # RQ says None

    def subscribe(self) -> None:
        """Listen to nobody: anyone on the queue's server could stop jobs by it."""

    def unsubscribe(self) -> None:
        """There is nothing to end."""

    def heartbeat(self, timeout: int | None = None, pipeline: object | None = None) -> None:
        """Show the supervisor, then RQ, that the loop turns."""
        self.desk.lease.renew(IDLE_LEASE_S)
        super().heartbeat(timeout, pipeline)  # type: ignore[arg-type]
        if time.monotonic() - self._listed_at >= LISTED_S:
            # RQ does it at birth only: a server that lost its memory would know of no worker.
            worker_registration.register(self)
            self._listed_at = time.monotonic()

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Take no further job. The one in hand has `shutdown_grace_s` before it is given back."""
        del signum, frame
        self._stop_requested = True
        self.desk.deadline.hurry(self.desk.services.settings.shutdown_grace_s)
        if self.get_state() != WorkerStatus.BUSY:
            raise StopRequested


def run_worker(
    settings: Settings, work: Work, lease: Lease, *, open_all: Open = open_services
) -> None:
    """Work until told to stop or until the queue's server is gone; the supervisor's child."""
    log.configure(settings)
    tracing.configure(settings, "worker")
    metrics.serve(settings)
    logger = structlog.get_logger()
    try:
        services = open_all(settings, SharedBudget(settings))
    except (TrueupError, ValueError) as error:
        logger.error("cannot start", line=str(error))  # noqa: TRY400 - a line, not a traceback
        raise SystemExit(1) from None
    try:
        _serve(settings, jobs.Desk(services=services, lease=lease, work=work))
    except RedisError as error:
        logger.warning("the queue's server is away", error=str(error))
        raise SystemExit(1) from None
    finally:
        services.close()
        # A forked process ends without what others do at their exit.
        tracing.stop()
        error_reports.flush()
    logger.info("worker ended")


def _serve(settings: Settings, desk: jobs.Desk) -> None:
    worker = InProcessWorker(
        [NAME],
        connection=connect(settings),
        serializer=JSONSerializer,
        worker_ttl=WORKER_TTL_S,
        maintenance_interval=MAINTENANCE_S,
        log_job_description=False,
    )
    worker.desk = desk
    with jobs.at(desk):
        structlog.get_logger().info("worker started", worker=worker.name)
        worker.work(logging_level=None)


def main(settings: Settings, work: Work = work_off, *, open_all: Open = open_services) -> None:
    """Run one supervised worker until SIGTERM or SIGINT."""
    log.configure(settings)
    child = partial(run_worker, settings, work, open_all=open_all)
    Supervisor(child, grace_s=settings.shutdown_grace_s).run()
