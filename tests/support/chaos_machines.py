"""The machines of a chaos run: real processes on real servers, and what is done to them.

What ends is started again by a supervisor, as compose or systemd would. One thread strikes one blow
after another; a server that was taken away is brought back by the same blow.
"""

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from backoffice.demo.buyer import API_KEY, Buyer
from backoffice.local import parts
from backoffice.local.network import answers_http, free_port
from backoffice.local.processes import Process
from backoffice.local.servers import Servers, throwaway_servers
from backoffice.local.supervisor import RestartPolicy, Supervisor
from reconcile.catalog import load_catalog
from reconcile.crash_points import VARIABLE
from reconcile.settings import PREFIX, Settings
from tests.conftest import ROOT
from tests.support.chaos_plan import WORKERS, Plan

# Nobody gives up in a chaos run: a process that cannot start without the database tries on.
PATIENT = RestartPolicy(first_delay_s=0.1, longest_delay_s=0.5, most_in_a_row=10_000)
UP_S = 120.0
CATALOG = "catalog.example.toml"


@dataclass
class Machines:
    """All processes of one run, by name, and the blows."""

    servers: Servers
    sandbox: Process
    processes: dict[str, Process]
    markers: dict[str, Path]
    buyer: Buyer
    secret: str
    door_port: int
    api_port: int
    settings: Settings

    @property
    def receiver_url(self) -> str:
        """Where webhooks go."""
        return parts.url(self.door_port)

    @property
    def api_url(self) -> str:
        """Where the host application asks."""
        return parts.url(self.api_port)

    def act(self, name: str, args: tuple[Any, ...]) -> None:
        """Strike one blow."""
        getattr(self, name)(*args)

    def kill(self, name: str) -> None:
        """SIGKILL, children included."""
        if self.processes[name].alive:
            self.processes[name].kill()

    def stop(self, name: str) -> None:
        """SIGTERM, and nobody waits for it."""
        with suppress(ProcessLookupError):
            self.processes[name].send_signal(signal.SIGTERM)

    def freeze(self, name: str, seconds: float) -> None:
        """Stand still for a while, locks and connections held; then go on as if nothing was."""
        process = self.processes[name]
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGSTOP)
            time.sleep(seconds)
            os.killpg(process.pid, signal.SIGCONT)

    def crash(self, name: str) -> None:
        """The worker dies at its crash point, the next time it comes by."""
        self.markers[name].unlink(missing_ok=True)

    def forget_queue(self) -> None:
        """Valkey is killed and comes back empty."""
        assert self.servers.valkey is not None
        self.servers.valkey.restart_empty()

    def kill_queue(self, seconds: float) -> None:
        """Valkey is killed, away for a while, and comes back with what it had saved."""
        assert self.servers.valkey is not None
        self.servers.valkey.process.kill()
        time.sleep(seconds)
        self.servers.valkey.start()

    def kill_database(self, seconds: float) -> None:
        """PostgreSQL is killed, away for a while, and recovers."""
        assert self.servers.postgres is not None
        self.servers.postgres.process.kill()
        time.sleep(seconds)
        self.servers.postgres.start()

    def calm(self) -> None:
        """Nobody dies any more, and everybody is up."""
        for marker in self.markers.values():
            marker.touch()
        until = time.monotonic() + UP_S
        while not self._all_up():
            assert time.monotonic() < until, self.last_words()
            time.sleep(0.1)

    def _all_up(self) -> bool:
        alive = all(process.alive for process in self.processes.values())
        return alive and answers_http(self.door_port) and answers_http(self.api_port)

    def last_words(self) -> str:
        """The end of every log."""
        return "\n".join(
            f"--- {name} ({process.exit_code})\n{process.tail()[-2_000:]}"
            for name, process in self.processes.items()
        )


@contextmanager
def running_machines(plan: Plan, home: Path) -> Iterator[Machines]:
    """Everything up, the catalog's prices in Stripe; everything stopped at the end."""
    with ExitStack() as stack:
        servers = stack.enter_context(throwaway_servers(ROOT / ".trueup", durable=True))
        _recovers_quickly(servers)
        sandbox_port, door_port, api_port = free_port(), free_port(), free_port()
        sandbox = Process(parts.sandbox({}, sandbox_port, "--retry-scale", "0.0003"), home)
        sandbox.start()
        stack.callback(sandbox.stop)
        sandbox.wait_ready()
        buyer = Buyer(parts.url(sandbox_port))
        buyer.create_prices(load_catalog(ROOT / CATALOG))
        url = f"{parts.url(door_port)}/webhooks/stripe"
        endpoint = buyer.post("/v1/webhook_endpoints", url=url, enabled_events=["*"])
        secret = str(endpoint["secret"])
        chosen = _chosen(servers, buyer.url, secret)
        env = _environment(chosen)
        markers = {name: home / f"{name}-died" for name in WORKERS}
        for marker in markers.values():
            marker.touch()
        mortal = {
            name: env | {VARIABLE: f"{place}:{markers[name]}"}
            for name, place in zip(WORKERS, plan.places, strict=True)
        }
        # Nobody learns anything from an orderly end: they are killed.
        processes = [
            Process(replace(command, stop_timeout_s=0), home)
            for command in (
                parts.receiver(env, door_port),
                parts.api(env, api_port),
                parts.relay(env),
                *(parts.worker(mortal[name], name) for name in WORKERS),
                parts.schedule(env),
            )
        ]
        supervisor = Supervisor(processes, policy=PATIENT, tell=lambda _: None)
        stack.enter_context(supervisor.in_background())
        yield Machines(
            servers=servers,
            sandbox=sandbox,
            processes={process.command.name: process for process in processes},
            markers=markers,
            buyer=buyer,
            secret=secret,
            door_port=door_port,
            api_port=api_port,
            settings=Settings(**chosen),
        )


def _recovers_quickly(servers: Servers) -> None:
    """Without waiting for the disk: what a killed process had written is in the system's memory.

    Only the machine's own death would lose it; recovery is seconds instead of a third of the run.
    """
    assert servers.postgres is not None
    with servers.postgres.connect() as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")


def _chosen(servers: Servers, stripe_url: str, secret: str) -> dict[str, Any]:
    """The settings of every process: as in production, with hours made into seconds."""
    return {
        "database_url": servers.database_url,
        "redis_url": servers.redis_url,
        "stripe_api_key": API_KEY,
        "stripe_api_base": stripe_url,
        "stripe_timeout_s": 2,
        "stripe_requests_per_s": 200,
        "webhook_secrets": f"chaos={secret}",
        "catalog_path": ROOT / CATALOG,
        "hint_lease_s": 2,
        "job_timeout_s": 15,
        "shutdown_grace_s": 2,
        "retry_base_s": 0.2,
        "retry_cap_s": 2,
        # An outage of seconds is as many tries here as one of days is with an hour between them.
        "retry_max_attempts": 200,
        "settling_window_s": 0.5,
    }


def _environment(chosen: Mapping[str, Any]) -> dict[str, str]:
    """What the processes see: these settings, and none of the caller's."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return plain | {f"{PREFIX}{name.upper()}": str(value) for name, value in chosen.items()}
