"""An application as a process: granian before it, metrics on an address of their own.

granian's main process only watches; each worker is a fresh process with its own application. Why
this server: docs/decisions/0004-the-receiver.md. The staff's API is served the same way.
"""

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from reconcile import garbage, log, tracing
from reconcile.settings import Settings
from webhooks import counts

if TYPE_CHECKING:
    from flask import Flask

# Builds the application in a worker; a function of a module, because a worker is a new process.
Builder = Callable[[Settings], "Flask"]

# A client that dribbles its headers is none of ours.
HEADER_TIMEOUT_MS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What is served, and how: worker processes, threads of each, and how long a stop may take."""

    name: str
    build: Builder
    workers: int
    threads_per_worker: int
    stop_timeout_s: int


def serve(served: Served, settings: Settings, port: int, host: str) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered first.

    OSError when the address cannot be had.
    """
    # The server would say so in a traceback of its own, without the address.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    socket.create_server((host, port), family=family).close()
    log.configure(settings)
    # A fork would copy this process's threads' locks into the workers.
    multiprocessing.set_start_method("spawn", force=True)
    with counts.own_directory() as shared:
        # Before prometheus_client is imported: it decides then whether processes are added up.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(shared)
        _serve(served, settings, port, host)


def _serve(served: Served, settings: Settings, port: int, host: str) -> None:
    server = Server(
        served.name,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=served.workers,
        blocking_threads=served.threads_per_worker,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MS),
        respawn_failed_workers=True,
        workers_kill_timeout=served.stop_timeout_s,
        log_level=LogLevels.error,
    )
    server.on_startup(partial(_serve_metrics, settings))
    load = partial(_load, served, settings, os.getpid())
    server.serve(target_loader=load, wrap_loader=False)


def _load(served: Served, settings: Settings, watcher_pid: int) -> "Flask":
    """Build the application in a worker of granian; the imports are the worker's own."""
    garbage.look_seldom()
    log.configure(settings)
    tracing.configure(settings, served.name.partition(".")[0])
    threading.Thread(target=_end_with, args=(watcher_pid,), daemon=True).start()
    return served.build(settings)


def _end_with(watcher_pid: int) -> None:
    """A worker whose watcher was killed would keep the port with nobody to watch it."""
    while os.getppid() == watcher_pid:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def _serve_metrics(settings: Settings) -> None:
    """From the watching process: it outlives its workers and adds their counts up."""
    from reconcile import metrics  # noqa: PLC0415 - see serve

    metrics.serve(settings)
