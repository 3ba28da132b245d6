"""`trueup up`: everything on this machine, kept running until it is told to stop."""

import os
import signal
import threading
from base64 import b64encode
from functools import partial
from pathlib import Path

import click
from rich.console import Console

from backoffice.commands.explain import read_settings
from backoffice.demo.buyer import API_KEY, Buyer
from backoffice.local import parts
from backoffice.local.example import example_catalog
from backoffice.local.network import free_port, is_free
from backoffice.local.processes import Command, Process, started_on_a_free_port
from backoffice.local.servers import Servers, local_servers
from backoffice.local.supervisor import Supervisor
from reconcile.catalog import load_catalog
from reconcile.settings import PREFIX, STRIPE_API_VERSION, Settings

NOTICES_PORT = 8002  # unless somebody has it; `trueup listen` reads it from the settings


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--api-port", type=click.IntRange(1, 65535), default=8001, show_default=True)
@click.option("--workers", type=click.IntRange(1, 16), default=2, show_default=True)
def up(port: int, api_port: int, workers: int) -> None:
    """Run everything on this machine, servers included.

    Without TRUEUP_STRIPE_API_KEY it is a rehearsal: the sandbox stands in for Stripe, notices go to
    where `trueup listen` takes them, and every start begins with an empty database, as the sandbox
    does. What another shell needs is in the file `env` in TRUEUP_DATA_DIR, to be sourced. Ctrl-C
    stops all of it.
    """
    for taken, option in ((port, "--port"), (api_port, "--api-port")):
        if not is_free(taken):
            raise click.UsageError(
                f"another process listens on port {taken} already: choose another with {option}"
            )
    settings = read_settings()
    rehearsal = not settings.stripe_api_key.get_secret_value()
    console = Console(stderr=True, highlight=False)
    stop = threading.Event()
    # From a thread: the handler of a signal would wait for a lock of the wait it came in.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: threading.Thread(target=stop.set).start())
    with local_servers(
        settings.data_dir,
        database_url=settings.database_url,
        redis_url=settings.redis_url,
        rehearsal=rehearsal,
    ) as servers:
        console.print(f"PostgreSQL and Valkey are up, data in {settings.data_dir.absolute()}")
        home = settings.data_dir
        sandbox = _start_sandbox(home) if rehearsal else None
        try:
            env = _environment(settings, servers, sandbox, port)
            commands = _commands(env, port, api_port, workers)
            processes = [Process(command, home) for command in commands]
            running = [*servers.processes, *([sandbox[0]] if sandbox else [])]
            supervisor = Supervisor(processes, servers=running, tell=console.print)
            supervisor.start()
            shared = home.absolute() / "env"
            try:
                told = _overview(settings, env, port, api_port, [*running, *processes])
                told += [f"For `trueup` in another shell: . {shared}"]
                api_url = f"export API_URL={parts.url(api_port)}"
                _share(shared, [*parts.exports(env), api_url])
                console.print("\n".join(told), soft_wrap=True, markup=False)
                supervisor.watch(stop)
            finally:
                console.print("stopping")
                shared.unlink(missing_ok=True)
                supervisor.stop()
        finally:
            if sandbox:
                sandbox[0].stop()


def _share(path: Path, lines: list[str]) -> None:
    """Leave the lines in a file that only this user can read: there are secrets among them."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as written:
        written.write("\n".join(lines) + "\n")


def _start_sandbox(home: Path) -> tuple[Process, str]:
    """The sandbox and its url."""
    process, port = started_on_a_free_port(partial(parts.sandbox, {}), home)
    return process, parts.url(port)


def _environment(
    settings: Settings, servers: Servers, sandbox: tuple[Process, str] | None, port: int
) -> dict[str, str]:
    """The settings of every process. They share a machine, so none listens for metrics."""
    if sandbox is None:
        return parts.environment(servers, metrics_listen="")
    _, url = sandbox
    catalog = settings.catalog_path
    if not catalog.exists() and "catalog_path" not in settings.model_fields_set:
        catalog = example_catalog()
    account = Buyer(url)
    account.create_prices(load_catalog(catalog))
    endpoint = account.post(
        "/v1/webhook_endpoints",
        url=f"{parts.url(port)}/webhooks/stripe",
        enabled_events=["*"],
        api_version=STRIPE_API_VERSION,
    )
    chosen = {
        "stripe_api_key": API_KEY,
        "stripe_api_base": url,
        "webhook_secrets": f"sandbox={endpoint['secret']}",
        "catalog_path": str(catalog.absolute()),
    }
    if not settings.host_webhook_url:
        free = NOTICES_PORT if is_free(NOTICES_PORT) else free_port()
        chosen["host_webhook_url"] = parts.url(free)
        chosen["host_webhook_secrets"] = f"whsec_{b64encode(os.urandom(32)).decode()}"
    return parts.environment(servers, metrics_listen="", **chosen)


def _commands(env: dict[str, str], port: int, api_port: int, workers: int) -> list[Command]:
    return [
        parts.receiver(env, port),
        parts.api(env, api_port),
        parts.relay(env),
        *(parts.worker(env, f"worker-{number}") for number in range(1, workers + 1)),
        parts.schedule(env),
    ]


def _overview(
    settings: Settings, env: dict[str, str], port: int, api_port: int, processes: list[Process]
) -> list[str]:
    """What runs where, a line each: a table would fold the urls that are there to be copied."""
    shown = {
        "webhooks": f"{parts.url(port)}/webhooks/stripe",
        "ready?": f"{parts.url(port)}/readyz",
        "API": f"{parts.url(api_port)}/v1, its document at {parts.url(api_port)}/docs",
        "Stripe": env.get(f"{PREFIX}STRIPE_API_BASE", settings.stripe_api_base),
    } | {one.command.name: f"pid {one.pid}, log {one.log}" for one in processes}
    return ["Trueup is running; Ctrl-C stops it", *parts.listed(shown)]
