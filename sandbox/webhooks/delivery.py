"""Sends webhooks: signs, posts, tries again. A few threads over one bounded queue.

What is sent to whom, and what an outcome means for the books, is decided by `sandbox.webhooks`;
this room only knows bodies, urls and secrets. It never touches the API's state or its lock, so a
slow receiver cannot slow the API. The order of arrival is not guaranteed, as with Stripe.
"""

from __future__ import annotations

import hmac
import http.client
import itertools
import queue
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from urllib.parse import urlsplit

# Stripe says "up to three days with an exponential back off" for live mode and does not say the
# steps; these add up to three days: https://docs.stripe.com/webhooks#automatic-retries.
RETRY_DELAYS_S = (300.0, 1800.0, 7200.0, 18000.0, 36000.0, 43200.0, 43200.0, 43200.0, 64800.0)
QUEUE_SIZE = 200_000
STOP_S = 1.0  # an attempt that is still waiting for its answer is left alone
USER_AGENT = "Stripe/1.0 (+https://stripe.com/docs/webhooks)"


@dataclass(frozen=True)
class DeliverySettings:
    """How webhooks are sent; `retry_scale` shortens the waits so that a test takes no days."""

    workers: int = 4
    timeout_s: float = 10.0
    retry_scale: float = 1.0
    max_attempts: int = len(RETRY_DELAYS_S) + 1


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one endpoint."""

    event_id: str
    event_type: str
    endpoint_id: str
    body: bytes
    attempt: int = 1


@dataclass(frozen=True)
class Target:
    """Where a delivery goes now; asked for at every attempt, since secrets roll."""

    url: str
    secrets: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """How one attempt ended: `status` 0 is no answer, `final` says that no other one follows."""

    delivery: Delivery
    status: int
    final: bool

    @property
    def delivered(self) -> bool:
        """Any 2xx counts as delivered, nothing else does (redirects included)."""
        return 200 <= self.status < 300


def signature_header(body: bytes, secrets: Sequence[str], timestamp: int) -> str:
    """The `Stripe-Signature` header: one `v1` for each secret that is valid at the moment.

    https://docs.stripe.com/webhooks#verify-manually.
    """
    signed = b"%d." % timestamp + body
    signatures = [hmac.new(s.encode(), signed, "sha256").hexdigest() for s in secrets]
    return ",".join([f"t={timestamp}", *(f"v1={signature}" for signature in signatures)])


def post(target: Target, body: bytes, timeout_s: float) -> int:
    """Posts one signed body; returns the status, 0 when there is no answer at all."""
    url = urlsplit(target.url)
    secure = url.scheme == "https"
    connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Stripe-Signature": signature_header(body, target.secrets, int(time.time())),
        "User-Agent": USER_AGENT,
        "Connection": "close",
    }
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    try:
        with closing(connect(url.hostname or "", url.port, timeout=timeout_s)) as connection:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            answer.read(65536)
            return answer.status
    except (OSError, http.client.HTTPException, ValueError):
        return 0


@dataclass
class _Queue:
    """Deliveries by the moment they are due; bounded, and quick to say no.

    Who gets one says `done`: until then it is `taken`, on its way and nowhere else to be seen.
    """

    waiting: list[tuple[float, int, Delivery]] = field(default_factory=list)
    taken: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)
    count: itertools.count[int] = field(default_factory=itertools.count)
    closed: bool = False

    def put(self, delivery: Delivery, delay_s: float) -> None:
        with self.changed:
            if len(self.waiting) >= QUEUE_SIZE:
                raise queue.Full
            heappush(self.waiting, (time.monotonic() + delay_s, next(self.count), delivery))
            self.changed.notify()

    def get(self) -> Delivery | None:
        """Waits for the next delivery that is due; None when the queue was closed."""
        with self.changed:
            while not self.closed:
                wait_s = self.waiting[0][0] - time.monotonic() if self.waiting else None
                if wait_s is not None and wait_s <= 0:
                    self.taken += 1
                    return heappop(self.waiting)[2]
                self.changed.wait(wait_s)
        return None

    def done(self) -> None:
        with self.changed:
            self.taken -= 1

    def unfinished(self) -> int:
        with self.changed:
            return len(self.waiting) + self.taken

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify_all()


class Deliverer:
    """The threads that send. `target` finds url and secrets, `report` hears of every attempt."""

    def __init__(
        self,
        settings: DeliverySettings,
        target: Callable[[str], Target | None],
        report: Callable[[Outcome], None],
    ) -> None:
        self.settings = settings
        self._target = target
        self._report = report
        self._queue = _Queue()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Starts the threads; they end with the process or with `stop`."""
        for n in range(self.settings.workers):
            thread = threading.Thread(target=self._work, name=f"webhooks-{n}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Ends the threads; what waits is lost."""
        self._queue.close()
        for thread in self._threads:
            thread.join(STOP_S)

    def submit(self, delivery: Delivery, delay_s: float = 0.0) -> bool:
        """Queues a delivery; False when the queue is full and the delivery is given up."""
        try:
            self._queue.put(delivery, delay_s)
        except queue.Full:
            return False
        return True

    @property
    def backlog(self) -> int:
        """How many deliveries are under way or wait, be it for their next attempt."""
        return self._queue.unfinished()

    def _work(self) -> None:
        while (delivery := self._queue.get()) is not None:
            try:
                self._attempt(delivery)
            except Exception:  # noqa: BLE001 - one webhook that fails here must not stop the rest
                traceback.print_exc()
            finally:
                self._queue.done()

    def _attempt(self, delivery: Delivery) -> None:
        target = self._target(delivery.endpoint_id)
        if target is None:
            self._report(Outcome(delivery, 0, final=True))
            return
        status = post(target, delivery.body, self.settings.timeout_s)
        retry = not 200 <= status < 300 and delivery.attempt < self.settings.max_attempts
        if retry:
            delay_s = RETRY_DELAYS_S[min(delivery.attempt, len(RETRY_DELAYS_S)) - 1]
            again = replace(delivery, attempt=delivery.attempt + 1)
            retry = self.submit(again, delay_s * self.settings.retry_scale)
        self._report(Outcome(delivery, status, final=not retry))
