"""The API as a process: services opened once in each worker, the Stripe budget shared by all."""

from typing import TYPE_CHECKING

from reconcile.settings import Settings
from webhooks.server import Served, serve

if TYPE_CHECKING:
    from flask import Flask

WORKERS = 2
# A request may wait for a seat to be bought; others go on meanwhile.
THREADS_PER_WORKER = 32
# Longer than Stripe's time-out, so that a change under way is told how it ended.
STOP_TIMEOUT_S = 30


def main(settings: Settings, port: int, host: str = "127.0.0.1") -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered first."""
    api = Served(
        name="backoffice.api.app",
        build=build,
        workers=WORKERS,
        threads_per_worker=THREADS_PER_WORKER,
        stop_timeout_s=STOP_TIMEOUT_S,
    )
    serve(api, settings, port, host)


def build(settings: Settings) -> "Flask":
    """Return the application of one worker. Raises the catalog's errors and those of Stripe."""
    from backoffice.api.app import create_app  # noqa: PLC0415 - see webhooks.server
    from reconcile.services import open_services  # noqa: PLC0415 - see webhooks.server
    from worker.budget import SharedBudget  # noqa: PLC0415 - see webhooks.server
    from worker.queues import Queue  # noqa: PLC0415 - see webhooks.server

    services = open_services(settings, SharedBudget(settings))
    return create_app(services, ping_queue=Queue(settings).ping)
