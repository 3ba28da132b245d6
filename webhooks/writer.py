"""The group commit: requests of one process that wait at the same time share one commit.

One writer thread takes what is waiting, stores it in one statement and lets each request go when
its row is durable. Nothing waits on purpose: a batch is what arrived while the last one committed.
Everything is bounded: the queue, a batch, and how long a request waits.
"""

import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection, Engine, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from reconcile.database import build_engine
from reconcile.envelope import InboxRow
from reconcile.store import inbox

# Stripe gives up on an endpoint after some ten seconds and comes again; we answer before that.
WAIT_S = 8.0
QUEUE_ROWS = 1_000
BATCH_ROWS = 200

# A database that vanished without a word must not hold the writer longer than the requests.
_CONNECTION = {
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "8000",
}


class NotStored(Exception):  # noqa: N818 - a fact, and read as one where it is caught
    """The row is not known to be durable; Stripe must deliver it again."""


@dataclass(slots=True, eq=False)
class _Waiting:
    row: InboxRow
    gate: threading.Lock = field(default_factory=threading.Lock)
    stored: bool = False


class GroupCommitWriter:
    """Stores rows durably; safe to build before a fork, its thread starts with the first row."""

    def __init__(
        self,
        database_url: str,
        *,
        wait_s: float = WAIT_S,
        queue_rows: int = QUEUE_ROWS,
        on_batch: Callable[[int], None],
    ) -> None:
        self._database_url = make_url(database_url).update_query_dict(_CONNECTION)
        self._wait_s = wait_s
        self._queue_rows = queue_rows
        self._on_batch = on_batch
        self._starting = threading.Lock()
        self._pid = 0
        self._queue: queue.Queue[_Waiting] = queue.Queue()

    def store(self, row: InboxRow) -> None:
        """Return when the row is committed; raises NotStored when that is not known in time.

        A row that was given up on may still be stored; its redelivery is then only counted.
        """
        if self._pid != os.getpid():
            self._start()
        waiting = _Waiting(row)
        waiting.gate.acquire()
        try:
            self._queue.put_nowait(waiting)
        except queue.Full:
            raise NotStored("too many are waiting already") from None
        if not waiting.gate.acquire(timeout=self._wait_s):
            raise NotStored(f"not committed within {self._wait_s:g} s")
        if not waiting.stored:
            raise NotStored("the database did not take it")

    def _start(self) -> None:
        with self._starting:
            if self._pid == os.getpid():
                return
            self._queue = queue.Queue(self._queue_rows)
            engine = build_engine(
                self._database_url.render_as_string(hide_password=False), pool_size=1
            )
            threading.Thread(
                target=_Writer(engine, self._queue, self._on_batch).run, name="inbox", daemon=True
            ).start()
            self._pid = os.getpid()


class _Writer:
    """What runs in the thread: the only owner of its connection."""

    def __init__(
        self, engine: Engine, waiting: queue.Queue[_Waiting], on_batch: Callable[[int], None]
    ) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._queue = waiting
        self._on_batch = on_batch
        self._connection: Connection | None = None
        self._log = structlog.get_logger()

    def run(self) -> None:
        while True:
            batch = self._next_batch()
            try:
                self._store(batch)
            except Exception:  # noqa: BLE001 - the thread must outlive whatever happens to one batch
                self._log.exception("inbox batch lost", rows=len(batch))
            finally:
                for waiting in batch:
                    waiting.gate.release()

    def _next_batch(self) -> list[_Waiting]:
        batch = [self._queue.get()]
        while len(batch) < BATCH_ROWS:
            try:
                batch.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return batch

    def _store(self, batch: list[_Waiting]) -> None:
        if self._attempt(batch):
            self._on_batch(len(batch))
        elif self._connection is not None and len(batch) > 1:
            # The connection is fine, so a row is not: it must not take the others with it.
            for waiting in batch:
                self._attempt([waiting])

    def _attempt(self, batch: list[_Waiting]) -> bool:
        """Store them, on a new connection once when the one we held turns out dead."""
        for _ in range(2):
            held = self._connection is not None
            try:
                if self._connection is None:
                    self._connection = self._engine.connect()
                inbox.accept(self._connection, [waiting.row for waiting in batch])
            except SQLAlchemyError as error:
                if not isinstance(error, DBAPIError) or error.connection_invalidated:
                    self._drop_connection()
                self._log.warning(
                    "inbox batch not stored", rows=len(batch), error=type(error).__name__
                )
                if held and self._connection is None:
                    continue
                return False
            for waiting in batch:
                waiting.stored = True
            return True
        return False

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
