"""The worker, as processes: killed, hung, stopped; and on every key one at a time (Law 5)."""

import os
import signal
import time
from pathlib import Path

import psutil
import redis
from rq import Callback
from rq import Queue as RqQueue
from rq.serializers import JSONSerializer

from tests.support.workshop import Workshop, eventually
from worker import queues


def test_everything_due_is_worked_off_and_no_key_by_two_at_once(workshop: Workshop) -> None:
    for number in range(60):
        workshop.event(f"sub:quick-{number % 10}")
    workshop.relay_here()
    workshop.worker()
    workshop.worker()
    eventually(lambda: workshop.count("pending") == 0)
    at_work: dict[str, int] = {}
    for what, key, pid in workshop.entries():
        if what == "begin":
            assert key not in at_work, "two workers on one key"
            at_work[key] = pid
        else:
            assert at_work.pop(key) == pid
    assert workshop.count("done") + workshop.count("superseded") == 60
    assert len(workshop.entries()) < 60, "a burst was not coalesced"


def test_what_comes_in_while_a_key_is_busy_is_done_right_after(workshop: Workshop) -> None:
    workshop.event("sub:slow-1")
    workshop.relay_here()
    workshop.worker()
    workshop.worker()
    eventually(lambda: len(workshop.entries()) == 1)
    late = workshop.event("sub:slow-1")
    eventually(lambda: workshop.count("pending") == 0)
    assert [what for what, _, _ in workshop.entries()] == ["begin", "end", "begin", "end"]
    assert workshop.row(late).state == "done"


def test_the_work_of_a_killed_worker_is_taken_over(workshop: Workshop) -> None:
    event_id = workshop.event("sub:die-1")
    workshop.relay_here()
    workshop.worker()
    eventually(lambda: workshop.row(event_id).state == "done")
    first, second, _ = workshop.entries()
    assert first[2] != second[2]
    assert workshop.row(event_id).attempts == 2


def test_a_whole_worker_killed_with_its_supervisor_is_made_up_for_by_another(
    workshop: Workshop,
) -> None:
    event_id = workshop.event("sub:slow-1")
    workshop.relay_here()
    killed = workshop.worker()
    eventually(lambda: len(workshop.entries()) == 1)
    killed.kill()
    workshop.worker()
    eventually(lambda: workshop.row(event_id).state == "done")


def test_an_event_that_kills_every_worker_becomes_a_dead_letter(workshop: Workshop) -> None:
    event_id = workshop.event("sub:poison-1")
    other = workshop.event("sub:quick-1")
    workshop.relay_here()
    workshop.worker(TRUEUP_RETRY_MAX_ATTEMPTS="2")
    eventually(lambda: workshop.row(event_id).state == "dead")
    assert workshop.row(event_id).reason == "every worker that took it died on it"
    assert len(workshop.entries("sub:poison-1")) == 2
    eventually(lambda: workshop.row(other).state == "done")


def test_a_job_past_its_time_is_interrupted_and_tried_later(workshop: Workshop) -> None:
    event_id = workshop.event("sub:alarm-1")
    workshop.relay_here()
    workshop.worker(TRUEUP_JOB_TIMEOUT_S="1")
    eventually(lambda: workshop.row(event_id).error_class is not None)
    row = workshop.row(event_id)
    assert (row.state, row.error_class, row.attempts) == ("pending", "retry", 1)
    assert "longer than it may" in row.reason


def test_a_job_that_hangs_where_no_signal_helps_is_ended_from_outside(workshop: Workshop) -> None:
    event_id = workshop.event("sub:hang-1")
    workshop.relay_here()
    worker = workshop.worker(TRUEUP_JOB_TIMEOUT_S="1")
    eventually(lambda: workshop.row(event_id).state == "done")
    assert "overdue" in worker.tail()


def test_sigterm_lets_a_job_finish_in_its_grace(workshop: Workshop) -> None:
    event_id = workshop.event("sub:slow-1")
    workshop.relay_here()
    worker = workshop.worker()
    eventually(lambda: len(workshop.entries()) == 1)
    assert worker.stop() == 0
    assert workshop.row(event_id).state == "done"


def test_sigterm_gives_a_longer_job_back_uncounted(workshop: Workshop) -> None:
    event_id = workshop.event("sub:alarm-1")
    relay = workshop.relay_here()
    worker = workshop.worker(TRUEUP_SHUTDOWN_GRACE_S="0.5")
    eventually(lambda: len(workshop.entries()) == 1)
    relay.stop()
    # The job would sleep for a minute; a worker that takes twenty seconds is killed.
    assert worker.stop() == 0
    row = workshop.row(event_id)
    assert (row.state, row.attempts, row.error_class) == ("pending", 0, None)


def test_an_idle_worker_stops_at_once(workshop: Workshop) -> None:
    workshop.event("sub:quick-1")
    workshop.relay_here()
    worker = workshop.worker()
    eventually(lambda: workshop.count("done") == 1)
    asked_at = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - asked_at < 15


def test_a_worker_stopped_by_the_machine_holds_nobody_up_for_ever(workshop: Workshop) -> None:
    """SIGSTOP: neither dead nor alive. Its supervisor ends it when its lease is over."""
    event_id = workshop.event("sub:slow-1")
    workshop.relay_here()
    worker = workshop.worker(TRUEUP_JOB_TIMEOUT_S="3")
    eventually(lambda: len(workshop.entries()) == 1)
    (child,) = psutil.Process(worker.pid).children()
    os.kill(child.pid, signal.SIGSTOP)
    eventually(lambda: workshop.row(event_id).state == "done")


def test_a_worker_runs_no_code_that_somebody_put_into_the_queue(
    workshop: Workshop, redis_client: redis.Redis, tmp_path: Path
) -> None:
    """Whoever can write to the queue's server can do no more than hint."""
    harmed = [tmp_path / f"harmed-{number}" for number in range(4)]
    foreign = RqQueue(queues.NAME, connection=redis_client, serializer=JSONSerializer)
    foreign.enqueue("os.mkdir", str(harmed[0]))
    foreign.enqueue(queues.WORK_OFF, "sub:quick-1", on_success=Callback("os.mkdir"))
    foreign.enqueue(queues.WORK_OFF, "sub:quick-1", str(harmed[1]))
    foreign.enqueue(queues.WORK_OFF, [str(harmed[2])])
    pickled = RqQueue(queues.NAME, connection=redis_client)
    pickled.enqueue("os.mkdir", str(harmed[3]))
    event_id = workshop.event("sub:quick-1")
    worker = workshop.worker()
    workshop.relay_here()
    eventually(lambda: workshop.row(event_id).state == "done")
    eventually(lambda: not redis_client.llen("rq:queue:trueup"))
    assert not any(path.exists() for path in harmed)
    assert not redis_client.keys("rq:*failed*")
    assert "refused a job that is not ours" in worker.tail()
    assert "starting another" not in worker.tail(), "it took the worker down"


def test_the_hints_of_a_dead_worker_do_not_pile_up(
    workshop: Workshop, redis_client: redis.Redis
) -> None:
    redis_client.rpush("rq:queue:trueup:intermediate", "left-by-a-dead-one")
    workshop.worker()
    eventually(lambda: not redis_client.exists("rq:queue:trueup:intermediate"))
