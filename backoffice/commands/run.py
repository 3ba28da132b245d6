"""One process each: receiver, API, worker, relay, schedule, sandbox."""

import os
import sys

import click

from backoffice.commands.explain import need, read_settings

HOST = "127.0.0.1"


@click.command()
@click.option("--host", default=HOST, show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
def receiver(host: str, port: int) -> None:
    """Run the public door: POST /webhooks/stripe, /healthz, /readyz."""
    settings = read_settings()
    need(settings, "database_url", "redis_url", "stripe_api_key", "webhook_secrets")

    from webhooks.serve import main  # noqa: PLC0415  # each process loads its own part only

    main(settings, port, host=host)


@click.command()
@click.option("--host", default=HOST, show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8001, show_default=True)
def api(host: str, port: int) -> None:
    """Run the host application's API: /v1, its document at /docs, /healthz, /readyz."""
    settings = read_settings()
    need(settings, "database_url", "redis_url", "stripe_api_key")

    from backoffice.api.serve import main  # noqa: PLC0415  # each process loads its own part only

    main(settings, port, host=host)


@click.command()
def worker() -> None:
    """Run one worker until it is told to stop; it finishes its job first."""
    settings = read_settings()
    need(settings, "database_url", "redis_url", "stripe_api_key")

    from worker.process import main  # noqa: PLC0415  # each process loads its own part only

    main(settings)


@click.command()
def relay() -> None:
    """Run the relay: every row that is due becomes a hint in the queue."""
    settings = read_settings()
    need(settings, "database_url", "redis_url")

    from worker.relay import main  # noqa: PLC0415  # each process loads its own part only

    main(settings)


@click.command()
def schedule() -> None:
    """Run the schedule: nightly reconciliation, gap audit, pruning. Two of them do it once."""
    settings = read_settings()
    need(settings, "database_url", "redis_url", "stripe_api_key")

    from worker.schedule import main  # noqa: PLC0415  # each process loads its own part only

    main(settings)


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def sandbox(options: tuple[str, ...]) -> None:
    """Run the stand-in for Stripe's API (`--port N`); it starts empty and forgets at its end."""
    # A program of its own that shares nothing with this one, so it takes this process's place.
    os.execv(sys.executable, [sys.executable, "-m", "sandbox", *options])  # noqa: S606 - no shell
