"""What RQ calls, by name. These names are in queues of running installations: keep them.

A job carries a work key and nothing else. It never fails in RQ's eyes: what went wrong is on the
inbox row, and a row that could not be written comes due again by itself.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import structlog

from reconcile.errors import Interrupted
from reconcile.services import Services
from reconcile.settling.work import WorkReport
from reconcile.settling.work import work_off as work_off_in_full
from worker.deadline import Deadline, Lease
from worker.queues import WORK_OFF

# What the supervisor grants a job on top of its own alarm, to be written down as overdue.
LAST_WORDS_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What one worker process has at hand for every job."""

    services: Services
    lease: Lease
    deadline: Deadline = field(default_factory=Deadline)
    work: Callable[[Services, str], WorkReport] = work_off_in_full


_desk: ContextVar[Desk] = ContextVar("desk")


@contextmanager
def at(desk: Desk) -> Iterator[None]:
    """Let the jobs of this process work at the desk; a job elsewhere raises LookupError."""
    token = _desk.set(desk)
    try:
        yield
    finally:
        _desk.reset(token)


def work_off(work_key: str) -> None:
    """Work off what is due for the key."""
    desk = _desk.get()
    timeout_s = desk.services.settings.job_timeout_s
    desk.lease.renew(timeout_s + LAST_WORDS_S)
    try:
        with desk.deadline.within(timeout_s):
            desk.work(desk.services, work_key)
    except (Exception, Interrupted):  # noqa: BLE001 - the rows come due again, whatever it was
        structlog.get_logger().exception("not worked off, due again", work_key=work_key)


# Every job there is, by the name it has in the queue. A worker runs nothing else, whatever the
# queue's server says.
JOBS: Mapping[str, Callable[[str], None]] = {WORK_OFF: work_off}
