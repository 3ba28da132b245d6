"""The demo from curtain to curtain: start everything, play, show, check, stop."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from rich.console import Console
from rich.markup import escape

from backoffice.demo import accidents, curtain, night, products, purchase, saves
from backoffice.demo.buyer import API_KEY, Buyer
from backoffice.demo.host import Host
from backoffice.demo.stage import Stage, StuckError
from backoffice.local import parts
from backoffice.local.example import example_catalog
from backoffice.local.network import free_port
from backoffice.local.processes import Command, Process
from backoffice.local.servers import Servers, throwaway_servers
from backoffice.local.supervisor import Supervisor
from reconcile import log
from reconcile.catalog import load_catalog
from reconcile.crash_points import VARIABLE, CrashPoint
from reconcile.services import open_services
from reconcile.settings import PREFIX, Settings
from worker.budget import SharedBudget

WIDTH_OF_A_LOG = 132
NEXT = """Every check held, and nothing of it is left on this machine. Next:
  KEEP=1 make demo         the same, and it stays up to look around
  .venv/bin/trueup up      an empty one to try out; README.md leads to a seat change with curl"""
FAILED = "Not every check held: the crosses say which. KEEP=1 make demo leaves it running."
TOKEN_S = 60
CHAPTERS: tuple[Callable[[Stage], None], ...] = (
    purchase.play,
    products.workspace,
    products.shop,
    products.agency,
    saves.one_save,
    saves.declined_card,
    accidents.dashboard_edit,
    accidents.untidy_webhooks,
    accidents.killed_worker,
    accidents.emptied_queue,
    night.play,
)


def main(settings: Settings, *, keep: bool) -> int:
    """Play the story and return the exit code: 0 when every check held."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH_OF_A_LOG)
    began_at = time.monotonic()
    with _stage(settings, console) as stage:
        well = _play(stage)
        console.print(f"\n{time.monotonic() - began_at:.1f} s in all")
        if keep:
            _leave_running(stage)
    if not keep:
        console.print(NEXT if well else FAILED, markup=False, soft_wrap=True)
    return 0 if well else 1


def _play(stage: Stage) -> bool:
    try:
        for play in CHAPTERS:
            play(stage)
    except StuckError as stuck:
        stage.console.print(f"[red]{escape(str(stuck))}[/red]")
        curtain.show(stage)
        return False
    curtain.show(stage)
    return curtain.check(stage)


@contextmanager
def _stage(settings: Settings, console: Console) -> Iterator[Stage]:
    """Everything up, with a database of the demo's own; everything stopped at the end."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trueup-demo-")))
        console.print("starting PostgreSQL, Valkey and the sandbox in Stripe's place")
        sandbox_port = free_port()
        sandbox = Process(parts.sandbox({}, sandbox_port, "--retry-scale", "0.01"), home)
        sandbox.start()  # while the servers start
        stack.callback(sandbox.stop)
        servers = stack.enter_context(
            throwaway_servers(
                settings.data_dir,
                database_url=settings.database_url,
                redis_url=settings.redis_url,
                durable=True,
            )
        )
        sandbox.wait_ready()
        door_port, api_port, host_port = (free_port() for _ in range(3))
        buyer = Buyer(parts.url(sandbox_port))
        buyer.create_prices(load_catalog(example_catalog()))
        endpoint = buyer.post(
            "/v1/webhook_endpoints",
            url=f"{parts.url(door_port)}/webhooks/stripe",
            enabled_events=["*"],
        )
        marker = home / "crashed"
        marker.touch()
        env = _environment(servers, buyer.url, endpoint["secret"], parts.url(host_port))
        console.print("starting the receiver, the API, two workers, the relay and the schedule")
        commands = [
            parts.receiver(env, door_port),
            parts.api(env, api_port),
            parts.listen(env, host_port),
            *_background(env, marker),
        ]
        processes = [Process(command, home) for command in commands]
        token = stack.enter_context(ThreadPoolExecutor(1)).submit(_token, env)  # while they start
        supervisor = Supervisor(processes, tell=lambda _: None)
        stack.enter_context(supervisor.in_background())
        demo_settings = _settings_of(env | {f"{PREFIX}LOG_LEVEL": "error"})
        log.configure(demo_settings)
        services = open_services(demo_settings, SharedBudget(demo_settings))
        stack.callback(services.close)
        yield Stage(
            console=console,
            home=home,
            env=env,
            servers=servers,
            services=services,
            buyer=buyer,
            host=Host(parts.url(api_port), token.result()),
            processes={"sandbox": sandbox} | {p.command.name: p for p in processes},
            crash_marker=marker,
        )


def _token(env: dict[str, str]) -> str:
    """A token for the host application, as anybody makes one."""
    scopes = ("read", "members", "billing")
    made = subprocess.run(  # noqa: S603 - our own command
        (
            *(sys.executable, "-m", "backoffice", "token", "create", "--json"),
            *("--name", "the host application"),
            *(word for scope in scopes for word in ("--scope", scope)),
        ),
        env=env,
        capture_output=True,
        timeout=TOKEN_S,
        check=True,
    )
    return str(json.loads(made.stdout)["token"])


def _environment(servers: Servers, stripe_url: str, secret: str, host_url: str) -> dict[str, str]:
    """Settings of every process: the defaults, a little less patient, and nobody else's."""
    chosen = {
        "database_url": servers.database_url,
        "redis_url": servers.redis_url,
        "stripe_api_key": API_KEY,
        "stripe_api_base": stripe_url,
        "webhook_secrets": f"demo={secret}",
        "host_webhook_url": host_url,
        "host_webhook_secrets": f"whsec_{b64encode(os.urandom(32)).decode()}",
        "catalog_path": str(example_catalog()),
        "hint_lease_s": "1",
        "relay_poll_s": "0.05",
        "retry_base_s": "0.5",
        "settling_window_s": "0.5",
        "stripe_requests_per_s": "200",
    }
    plain = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return plain | {f"{PREFIX}{name.upper()}": value for name, value in chosen.items()}


def _background(env: dict[str, str], marker: Path) -> list[Command]:
    # Both workers may be the one that dies; the marker says that it has happened.
    mortal = env | {VARIABLE: f"{CrashPoint.AFTER_CALL}:{marker}"}
    return [
        parts.relay(env),
        parts.worker(mortal, "worker-1"),
        parts.worker(mortal, "worker-2"),
        parts.schedule(env),
    ]


class _Given(Settings):
    """The settings of this process: what is given, and defaults; not the caller's environment."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *others: PydanticBaseSettingsSource,
        **named: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Explicit arguments only."""
        del settings_cls, others, named
        return (init_settings,)


def _settings_of(env: dict[str, str]) -> Settings:
    given = {
        name: env[f"{PREFIX}{name.upper()}"]
        for name in Settings.model_fields
        if f"{PREFIX}{name.upper()}" in env
    }
    return _Given(**given)  # type: ignore[arg-type] # text, parsed as from the environment


def _leave_running(stage: Stage) -> None:
    """Say how to look around, and wait for Ctrl-C."""
    stop = threading.Event()
    # From a thread: the handler of a signal would wait for a lock of the wait it came in.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: threading.Thread(target=stop.set).start())
    shown = {
        "Stripe (sandbox)": f"{stage.buyer.url}  key {API_KEY}",
        "the API": f"{stage.host.url}  (a token: trueup token create)",
        "Stripe's calls": f"curl {stage.buyer.url}/_sandbox/calls",
    } | {n: f"pid {p.pid}, log {p.log}" for n, p in stage.processes.items()}
    told = [
        "Still running; Ctrl-C stops it",
        *parts.listed(shown),
        "For `trueup` in another shell:",
        *parts.exports(stage.env),
    ]
    stage.console.print("\n".join(told), soft_wrap=True, markup=False)
    stop.wait()
