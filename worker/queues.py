"""The queue, behind the few calls this project makes of it. RQ is imported here and in `process`.

What is in the queue is a hint that a work key has something due, nothing more: it may be lost,
doubled or emptied at any time, because the inbox's rows are the truth. Arguments are JSON, never
pickle: whoever can write to the queue's server must not be able to run code in a worker.
"""

import math
from collections.abc import Sequence

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue as RqQueue
from rq.serializers import JSONSerializer

from reconcile.settings import Settings

NAME = "trueup"

# By name: the relay does not import what the workers run. It is in queues of running
# installations: keep it. `worker.jobs` says what it stands for.
WORK_OFF = "worker.jobs.work_off"

# Every queue there is. A worker listens to exactly one: RQ then moves a job from list to list
# (LMOVE) instead of popping it off, so that the job is never only in a dying worker's memory.
QUEUES = (NAME,)

CONNECT_TIMEOUT_S = 1.0
ANSWER_TIMEOUT_S = 2.0


def connect(settings: Settings) -> Redis:
    """Return a client that fails at once when the server is away.

    Said in full, because redis-py tries ten times (three seconds a call) or once, depending on
    which of its constructors is used; who calls here has something better to do.
    """
    return Redis.from_url(
        settings.redis_url,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=ANSWER_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


class Queue:
    """The work queue of one process. Every call may raise redis.RedisError."""

    def __init__(self, settings: Settings) -> None:
        self._redis = connect(settings)
        self._queue = RqQueue(NAME, connection=self._redis, serializer=JSONSerializer)
        # A hint nobody took is gone when the relay gives the next one: they do not pile up.
        self._hint_ttl_s = math.ceil(settings.hint_lease_s)

    def hint(self, work_keys: Sequence[str]) -> None:
        """Put one job for each work key into the queue, in a few round trips for hundreds."""
        if not work_keys:
            return
        self._queue.enqueue_many(
            [
                RqQueue.prepare_data(
                    WORK_OFF, args=(work_key,), ttl=self._hint_ttl_s, description=work_key
                )
                for work_key in work_keys
            ]
        )

    def ping(self) -> None:
        """Return when the server answers."""
        self._redis.ping()

    def depth(self) -> int:
        """Return how many hints wait."""
        return int(self._redis.llen(self._queue.key))

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()
