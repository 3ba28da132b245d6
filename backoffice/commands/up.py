"""`trueup up`: everything on this machine, kept running until it is told to stop."""

import signal
import threading
from pathlib import Path

import click
import requests
from rich.console import Console
from rich.table import Table

from backoffice.commands.explain import read_settings
from backoffice.local import parts
from backoffice.local.network import free_port
from backoffice.local.processes import Command, Process
from backoffice.local.servers import Servers, local_servers
from backoffice.local.supervisor import Supervisor
from reconcile.settings import PREFIX, Settings

SANDBOX_KEY = "sk_test_of_this_machine"
EXAMPLE_CATALOG = Path("catalog.example.toml")
TIMEOUT_S = 30


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--workers", type=click.IntRange(1, 16), default=2, show_default=True)
def up(port: int, workers: int) -> None:
    """Run everything on this machine, servers included.

    Without TRUEUP_STRIPE_API_KEY the sandbox stands in for Stripe. Ctrl-C stops all of it; the data
    stays in TRUEUP_DATA_DIR.
    """
    settings = read_settings()
    console = Console(stderr=True, highlight=False)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with local_servers(
        settings.data_dir, database_url=settings.database_url, redis_url=settings.redis_url
    ) as servers:
        console.print(f"PostgreSQL and Valkey are up, data in {settings.data_dir.absolute()}")
        home = settings.data_dir
        sandbox = _start_sandbox(settings, home)
        try:
            env = _environment(settings, servers, sandbox, port)
            processes = [Process(command, home) for command in _commands(env, port, workers)]
            running = [*servers.processes, *([sandbox[0]] if sandbox else [])]
            supervisor = Supervisor(processes, servers=running, tell=console.print)
            supervisor.start()
            try:
                console.print(_overview(settings, env, port, [*running, *processes]))
                supervisor.watch(stop)
            finally:
                console.print("stopping")
                supervisor.stop()
        finally:
            if sandbox:
                sandbox[0].stop()


def _start_sandbox(settings: Settings, home: Path) -> tuple[Process, str] | None:
    """The sandbox and its url, when no key was given for the real Stripe."""
    if settings.stripe_api_key.get_secret_value():
        return None
    port = free_port()
    process = Process(parts.sandbox({}, port), home)
    process.start()
    process.wait_ready()
    return process, parts.url(port)


def _environment(
    settings: Settings, servers: Servers, sandbox: tuple[Process, str] | None, port: int
) -> dict[str, str]:
    if sandbox is None:
        return parts.environment(servers)
    _, url = sandbox
    endpoint = requests.post(
        f"{url}/v1/webhook_endpoints",
        auth=(SANDBOX_KEY, ""),
        data={"url": f"{parts.url(port)}/webhooks/stripe", "enabled_events[]": "*"},
        timeout=TIMEOUT_S,
    )
    endpoint.raise_for_status()
    chosen = {
        "stripe_api_key": SANDBOX_KEY,
        "stripe_api_base": url,
        "webhook_secrets": f"sandbox={endpoint.json()['secret']}",
    }
    if not settings.catalog_path.exists() and EXAMPLE_CATALOG.exists():
        chosen["catalog_path"] = str(EXAMPLE_CATALOG.absolute())
    return parts.environment(servers, **chosen)


def _commands(env: dict[str, str], port: int, workers: int) -> list[Command]:
    return [
        parts.receiver(env, port),
        parts.relay(env),
        *(parts.worker(env, f"worker-{number}") for number in range(1, workers + 1)),
        parts.schedule(env),
    ]


def _overview(
    settings: Settings, env: dict[str, str], port: int, processes: list[Process]
) -> Table:
    table = Table(
        title="Trueup is running; Ctrl-C stops it", show_header=False, title_justify="left"
    )
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row("Webhooks", f"{parts.url(port)}/webhooks/stripe")
    table.add_row("Ready?", f"{parts.url(port)}/readyz")
    table.add_row("Stripe", env.get(f"{PREFIX}STRIPE_API_BASE", settings.stripe_api_base))
    # The embedded servers' urls are for looking around; a password that was given stays hidden.
    if not settings.database_url:
        table.add_row("Database", env[f"{PREFIX}DATABASE_URL"])
    if not settings.redis_url:
        table.add_row("Queue", env[f"{PREFIX}REDIS_URL"])
    for process in processes:
        table.add_row(process.command.name, f"pid {process.pid}, log {process.log}")
    return table
