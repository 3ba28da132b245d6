"""The alarm of a job: told as overdue, or as shutting down, and only while the job runs."""

import time

import pytest

from reconcile.errors import JobOverdue, ShuttingDown
from worker.deadline import Deadline, Lease

# Nobody waits for it, unless what is tested here is broken.
TOO_LONG_S = 30


def told_to_stop(deadline: Deadline, grace_s: float) -> None:
    deadline.hurry(grace_s)
    time.sleep(TOO_LONG_S)


def test_a_job_that_takes_too_long_is_interrupted() -> None:
    started = time.monotonic()
    with pytest.raises(JobOverdue), Deadline().within(0.1):
        time.sleep(TOO_LONG_S)
    assert time.monotonic() - started < TOO_LONG_S


def test_a_job_in_time_is_left_alone_afterwards() -> None:
    with Deadline().within(0.4):
        pass
    time.sleep(0.5)


def test_a_hurried_job_has_its_grace_and_not_more() -> None:
    deadline = Deadline()
    started = time.monotonic()
    with pytest.raises(ShuttingDown), deadline.within(2 * TOO_LONG_S):
        told_to_stop(deadline, 0.1)
    assert time.monotonic() - started < TOO_LONG_S


def test_hurrying_gives_no_job_more_time_than_it_had() -> None:
    deadline = Deadline()
    started = time.monotonic()
    with pytest.raises(ShuttingDown), deadline.within(0.1):
        told_to_stop(deadline, 2 * TOO_LONG_S)
    assert time.monotonic() - started < TOO_LONG_S


def test_hurrying_without_a_job_interrupts_nothing() -> None:
    Deadline().hurry(0.01)
    time.sleep(0.05)


def test_a_lease_runs_out_unless_it_is_renewed() -> None:
    lease = Lease()
    lease.renew(TOO_LONG_S)
    assert not lease.overdue()
    lease.renew(0.05)
    time.sleep(0.1)
    assert lease.overdue()
    lease.renew(TOO_LONG_S)
    assert not lease.overdue()
