"""The door as a process: granian before the application, metrics on an address of their own.

granian's main process only watches; each worker is a fresh process with its own application.
Why this server and these numbers: docs/decisions/0004-the-receiver.md.
"""

import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from reconcile import log
from reconcile.settings import Settings

if TYPE_CHECKING:
    from flask import Flask

WORKERS = 2
# A request costs a thread while it waits for its commit, or for a slow client's body. Idle ones
# cost nothing: 128 are as quick as 32, and it takes four times as many slow clients to fill them.
THREADS_PER_WORKER = 128
# Stripe's headers are a few hundred bytes; a client that dribbles them is not Stripe.
HEADER_TIMEOUT_MS = 10_000
# On SIGTERM the requests under way get this long to be committed and answered: longer than the
# writer's own patience, shorter than that of whoever stops us (compose waits 20 s).
STOP_TIMEOUT_S = 10


def main(settings: Settings, port: int, host: str = "127.0.0.1") -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered first.

    Raises ValueError when a setting that the door cannot do without is empty.
    """
    _require(settings)
    log.configure(settings)
    # A fork would copy this process's threads' locks into the workers.
    multiprocessing.set_start_method("spawn", force=True)
    # Before prometheus_client is imported: it decides then whether processes are added up.
    counts = Path(tempfile.mkdtemp(prefix="trueup-metrics-"))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(counts)
    server = Server(
        "webhooks.app",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=WORKERS,
        blocking_threads=THREADS_PER_WORKER,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MS),
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_TIMEOUT_S,
        log_level=LogLevels.error,
    )
    server.on_startup(partial(_serve_metrics, settings))
    try:
        server.serve(target_loader=partial(_build, settings, os.getpid()), wrap_loader=False)
    finally:
        shutil.rmtree(counts, ignore_errors=True)


def _require(settings: Settings) -> None:
    """An empty key would make every live event one of the wrong mode."""
    if not settings.database_url:
        raise ValueError("TRUEUP_DATABASE_URL is empty: the receiver has nowhere to store events")
    if not settings.stripe_api_key.get_secret_value():
        raise ValueError(
            "TRUEUP_STRIPE_API_KEY is empty: its prefix says which mode's events are ours"
        )


def _build(settings: Settings, watcher_pid: int) -> "Flask":
    """Build the application in a worker of granian; the imports are the worker's own."""
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - see main

    from webhooks.app import create_app  # noqa: PLC0415 - see main
    from worker.queues import Queue  # noqa: PLC0415 - see main

    log.configure(settings)
    threading.Thread(target=_end_with, args=(watcher_pid,), daemon=True).start()
    return create_app(settings, Queue(settings).ping, CollectorRegistry())


def _end_with(watcher_pid: int) -> None:
    """A worker whose watcher was killed would keep the port with nobody to watch it."""
    while os.getppid() == watcher_pid:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def _serve_metrics(settings: Settings) -> None:
    """From the watching process: it outlives its workers and adds their counts up."""
    from reconcile import metrics  # noqa: PLC0415 - see main

    metrics.serve(settings)
