"""The queue: short-lived hints in JSON, on a server that may be away."""

import inspect
import time
from collections.abc import Callable

import pytest
import redis
from rq import Queue as RqQueue
from rq.serializers import JSONSerializer

from backoffice.local.network import free_port
from reconcile.settings import Settings
from worker import queues
from worker.jobs import JOBS
from worker.queues import ALIVE_S, Queue

MakeSettings = Callable[..., Settings]


@pytest.fixture
def queue(make_settings: MakeSettings, redis_url: str) -> Queue:
    return Queue(make_settings(redis_url=redis_url, hint_lease_s=7.5))


def test_the_job_named_in_the_queue_is_one_that_workers_run() -> None:
    assert set(JOBS) == {queues.WORK_OFF}
    for name, job in JOBS.items():
        assert f"{job.__module__}.{job.__name__}" == name
        assert list(inspect.signature(job).parameters) == ["work_key"]


def test_a_hint_is_one_job_a_key_that_carries_json_and_no_pickle(
    queue: Queue, redis_client: redis.Redis
) -> None:
    queue.hint(["sub:sub_1", "org:org 1/ä"])
    assert queue.depth() == 2
    jobs = RqQueue(queues.NAME, connection=redis_client, serializer=JSONSerializer).jobs
    assert [(job.func_name, job.args) for job in jobs] == [
        (queues.WORK_OFF, ["sub:sub_1"]),
        (queues.WORK_OFF, ["org:org 1/ä"]),
    ]
    assert jobs[0].data == b'["worker.jobs.work_off", null, ["sub:sub_1"], {}]'


def test_a_hint_is_gone_when_its_lease_is_over(queue: Queue, redis_client: redis.Redis) -> None:
    queue.hint(["sub:sub_1"])
    (job_key,) = redis_client.keys("rq:job:*")
    assert 0 < redis_client.ttl(job_key) <= 8


def test_nothing_to_hint_is_nothing_sent(queue: Queue, redis_client: redis.Redis) -> None:
    queue.hint([])
    assert redis_client.dbsize() == 0


def test_a_server_that_is_away_is_told_at_once(make_settings: MakeSettings) -> None:
    queue = Queue(make_settings(redis_url=f"redis://127.0.0.1:{free_port()}/0"))
    started = time.monotonic()
    for call in (queue.ping, queue.depth, lambda: queue.hint(["sub:sub_1"])):
        with pytest.raises(redis.ConnectionError):
            call()
    assert time.monotonic() - started < 6, "its client tries for three seconds a call"


def test_a_sign_of_life_tells_its_age_and_what_was_said(
    queue: Queue, redis_client: redis.Redis
) -> None:
    queue.sign_of_life("relay", "all quiet")
    (key,) = redis_client.keys("trueup:alive:relay:*")
    redis_client.pexpire(key, 6_000)
    (sign,) = queue.signs("relay")
    assert sign.said == "all quiet"
    assert ALIVE_S - 6 <= sign.age_s < ALIVE_S
    queue.gone("relay")
    assert queue.signs("relay") == []
