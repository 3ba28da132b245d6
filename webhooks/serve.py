"""The door as a process: what it is served with, and what it cannot do without.

Why these numbers: docs/decisions/0004-the-receiver.md.
"""

import atexit
from contextlib import ExitStack
from typing import TYPE_CHECKING

from reconcile.settings import Settings
from webhooks.server import Served, serve

if TYPE_CHECKING:
    from flask import Flask

WORKERS = 2
# A request costs a thread while it waits for its commit, or for a slow client's body. Idle ones
# cost nothing: 128 are as quick as 32, and it takes four times as many slow clients to fill them.
THREADS_PER_WORKER = 128
# On SIGTERM the requests under way get this long to be committed and answered: longer than the
# writer's own patience, shorter than that of whoever stops us (compose waits 20 s).
STOP_TIMEOUT_S = 10


def main(settings: Settings, port: int, host: str = "127.0.0.1") -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered first.

    Raises ValueError when a setting that the door cannot do without is empty.
    """
    _require(settings)
    door = Served(
        name="webhooks.app",
        build=build,
        workers=WORKERS,
        threads_per_worker=THREADS_PER_WORKER,
        stop_timeout_s=STOP_TIMEOUT_S,
    )
    serve(door, settings, port, host)


def _require(settings: Settings) -> None:
    """An empty key would make every live event one of the wrong mode."""
    if not settings.database_url:
        raise ValueError("TRUEUP_DATABASE_URL is empty: the receiver has nowhere to store events")
    if not settings.stripe_api_key.get_secret_value():
        raise ValueError(
            "TRUEUP_STRIPE_API_KEY is empty: its prefix says which mode's events are ours"
        )


def build(settings: Settings) -> "Flask":
    """Return the application of one worker; called in the worker, so that its imports come late."""
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - see webhooks.server

    from webhooks.app import create_app  # noqa: PLC0415 - see webhooks.server
    from webhooks.refusals import NAME, Refusals  # noqa: PLC0415 - see webhooks.server
    from worker.alive import signs_of_life  # noqa: PLC0415 - see webhooks.server
    from worker.queues import Queue  # noqa: PLC0415 - see webhooks.server

    refusals, lives = Refusals(), ExitStack()
    lives.enter_context(signs_of_life(settings, NAME, refusals.told))
    atexit.register(lives.close)
    return create_app(settings, Queue(settings).ping, CollectorRegistry(), refusals)
