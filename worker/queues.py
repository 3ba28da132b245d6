"""The queue, behind the few calls this project makes of it. RQ is imported here and in `process`.

What is in the queue is a hint that a work key has something due, nothing more: it may be lost,
doubled or emptied at any time, because the inbox's rows are the truth. Arguments are JSON, never
pickle: whoever can write to the queue's server must not be able to run code in a worker.
"""

import math
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue as RqQueue
from rq import Worker as RqWorker
from rq.serializers import JSONSerializer

from reconcile.settings import Settings

NAME = "trueup"

# By name: the relay does not import what the workers run. It is in queues of running
# installations: keep it. `worker.jobs` says what it stands for.
WORK_OFF = "worker.jobs.work_off"

# Every queue there is. A worker listens to exactly one: RQ then moves a job from list to list
# (LMOVE) instead of popping it off, so that the job is never only in a dying worker's memory.
QUEUES = (NAME,)

# Who is alive says so under this key at every beat, and is believed for a few of them: who was
# killed is soon missed, and not counted beside the one that was started in its place.
ALIVE = "trueup:alive"
BEAT_S = 5.0
ALIVE_S = 20
MOST_ALIVE = 1000

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


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSeen:
    """One worker as the queue's server knows it: `idle` or `busy`, and when it was last heard."""

    name: str
    state: str
    seen_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """A sign of life: how many seconds ago it was shown, and what was said with it."""

    age_s: float
    said: str


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

    def waiting(self, limit: int) -> list[str]:
        """Return the work keys that were hinted and not taken, the next one first."""
        return [str(job.description) for job in self._queue.get_jobs(0, limit)]

    def workers(self) -> list[WorkerSeen]:
        """Return the workers that listen to the queue; one that died is forgotten in a minute."""
        found = RqWorker.all(queue=self._queue)
        return [
            WorkerSeen(
                name=each.name,
                state=str(each.get_state()),
                seen_at=each.last_heartbeat.replace(tzinfo=UTC) if each.last_heartbeat else None,
            )
            for each in found
        ]

    def sign_of_life(self, who: str, said: str = "") -> None:
        """Say that this process of the name is alive, and with it what it has to say."""
        self._redis.set(_sign(who), said, ex=ALIVE_S)

    def gone(self, who: str) -> None:
        """Take back what this process of the name said: it ends."""
        self._redis.delete(_sign(who))

    def alive(self, who: str) -> int:
        """Return how many processes of the name said so in the last `ALIVE_S` and did not end."""
        return len(self.signs(who))

    def signs(self, who: str) -> list[Sign]:
        """Return what the processes of the name last said of those that are counted as alive."""
        keys = self._redis.scan_iter(match=f"{ALIVE}:{who}:*", count=MOST_ALIVE)
        found = [(self._redis.get(key), self._redis.pttl(key)) for key in islice(keys, MOST_ALIVE)]
        return [
            Sign(age_s=ALIVE_S - left_ms / 1000, said=said.decode(errors="replace"))
            for said, left_ms in found
            if isinstance(said, bytes) and isinstance(left_ms, int) and left_ms > 0
        ]

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()


def _sign(who: str) -> str:
    return f"{ALIVE}:{who}:{socket.gethostname()}:{os.getpid()}"
