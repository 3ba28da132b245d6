"""`make bench-ingest`: durable events a second, beside a receiver that stores nothing.

Both run under the same server, in the same minutes, in turns; the peer in the best configuration a
short trial finds for it. Trust the ratio, not the absolutes. Exits 0 with the figures as they are.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, text
from stripe import WebhookSignature

from backoffice.local.network import accepts, free_port
from backoffice.local.processes import Command, Process
from backoffice.local.servers import Servers, throwaway_servers
from bench.load import Load, post_all
from reconcile.database import build_engine

ROOT = Path(__file__).parent.parent
SECRET = "whsec_of_the_benchmark"  # noqa: S105 - it signs nothing real
CONNECTIONS = 32
ROUNDS = 5
EVENTS_A_ROUND = 4_000
TRIAL_EVENTS = 1_500
# (processes, threads each) the peer is tried with.
PEER_CONFIGURATIONS = ((1, 8), (2, 4), (2, 16), (4, 8))
AIM = 2.0


@dataclass(slots=True)
class Contender:
    """One receiver and what its rounds saw."""

    name: str
    port: int
    rounds: list[Load] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Median of the rounds."""
        return statistics.median(load.rate for load in self.rounds)

    def latency_ms(self, share: float) -> float:
        """The latency below which this share of all requests lies."""
        every = sorted(second for load in self.rounds for second in load.latencies_s)
        return every[min(len(every) - 1, int(share * len(every)))] * 1000

    @property
    def generator_share(self) -> float:
        """How much of a core the load generator used."""
        elapsed = sum(load.elapsed_s for load in self.rounds)
        return sum(load.generator_cpu_s for load in self.rounds) / elapsed


def main() -> None:
    """Run the rounds in turns and print the figures."""
    console = Console()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trueup-bench-")))
        console.print("starting PostgreSQL (fsync on) and Valkey ...")
        servers = stack.enter_context(throwaway_servers(ROOT / ".trueup", durable=True))
        engine = build_engine(servers.database_url)
        stack.callback(engine.dispose)
        best = _best_peer(console, servers, home)
        peer = Contender(
            f"verify + RQ enqueue, nothing stored ({best[0]}x{best[1]})",
            stack.enter_context(_peer(servers, home, best)),
        )
        ours = Contender(
            "trueup receiver, stored durably", stack.enter_context(_ours(servers, home))
        )
        for contender in (peer, ours):
            post_all(contender.port, _requests(500), connections=CONNECTIONS)
        for number in range(1, ROUNDS + 1):
            for contender in (peer, ours) if number % 2 else (ours, peer):
                _empty(engine, servers)
                load = post_all(contender.port, _requests(EVENTS_A_ROUND), connections=CONNECTIONS)
                contender.rounds.append(load)
                console.print(f"round {number}: {contender.name}: {load.rate:,.0f} events/s")
                if contender is ours:
                    _check_stored(engine)
    _report(console, peer, ours)


def _report(console: Console, peer: Contender, ours: Contender) -> None:
    table = Table(title=f"accepted events at concurrency {CONNECTIONS}, median of {ROUNDS} rounds")
    for heading in ("receiver", "events/s", "p50 ms", "p99 ms", "generator's core"):
        table.add_column(heading, justify="left" if heading == "receiver" else "right")
    for contender in (peer, ours):
        table.add_row(
            contender.name,
            f"{contender.rate:,.0f}",
            f"{contender.latency_ms(0.50):.1f}",
            f"{contender.latency_ms(0.99):.1f}",
            f"{contender.generator_share:.0%}",
        )
    console.print(table)
    console.print(
        f"ratio {ours.rate / peer.rate:.2f} (aim: at least {AIM:g}), "
        f"p99 {ours.latency_ms(0.99):.1f} ms beside {peer.latency_ms(0.99):.1f} ms (aim: lower)"
    )


def _best_peer(console: Console, servers: Servers, home: Path) -> tuple[int, int]:
    found: dict[tuple[int, int], float] = {}
    for configuration in PEER_CONFIGURATIONS:
        with _peer(servers, home, configuration) as port:
            post_all(port, _requests(300), connections=CONNECTIONS)
            load = post_all(port, _requests(TRIAL_EVENTS), connections=CONNECTIONS)
        found[configuration] = load.rate
        console.print(f"trial: peer {configuration[0]}x{configuration[1]}: {load.rate:,.0f}/s")
    return max(found, key=found.__getitem__)


@contextmanager
def _peer(servers: Servers, home: Path, configuration: tuple[int, int]) -> Iterator[int]:
    port = free_port()
    environment = {"MINIMAL_SECRET": SECRET, "MINIMAL_REDIS_URL": servers.redis_url}
    numbers = tuple(str(number) for number in configuration)
    with _running("peer", port, ("-m", "bench.minimal", str(port), *numbers), environment, home):
        yield port


@contextmanager
def _ours(servers: Servers, home: Path) -> Iterator[int]:
    port = free_port()
    environment = {
        "TRUEUP_DATABASE_URL": servers.database_url,
        "TRUEUP_REDIS_URL": servers.redis_url,
        "TRUEUP_STRIPE_API_KEY": "sk_test_of_the_benchmark",
        "TRUEUP_WEBHOOK_SECRETS": f"main={SECRET}",
    }
    arguments = ("-m", "backoffice", "receiver", "--port", str(port))
    with _running("receiver", port, arguments, environment, home):
        yield port


@contextmanager
def _running(
    name: str, port: int, arguments: tuple[str, ...], environment: Mapping[str, str], home: Path
) -> Iterator[None]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("TRUEUP_")}
    process = Process(
        Command(
            name=f"{name}-{port}",
            argv=(sys.executable, *arguments),
            env={**inherited, **environment, "PYTHONPATH": str(ROOT)},
            ready=lambda: accepts(port),
        ),
        home,
    )
    process.start()
    try:
        process.wait_ready()
        yield
    finally:
        process.stop()


def _requests(count: int) -> list[bytes]:
    """Signed requests of about 4.5 KB, as many as Stripe's own, each with an id of its own."""
    padding = {f"note_{number}": "x" * 60 for number in range(40)}
    made = []
    for _ in range(count):
        unique = os.urandom(12).hex()
        event = {
            "id": f"evt_{unique}",
            "object": "event",
            "api_version": "2026-10-28.endive",
            "created": int(time.time()),
            "data": {
                "object": {
                    "id": f"sub_{unique}",
                    "object": "subscription",
                    "customer": f"cus_{unique}",
                    "metadata": {"organization_id": "org_1", **padding},
                }
            },
            "livemode": False,
            "pending_webhooks": 1,
            "type": "customer.subscription.updated",
        }
        body = json.dumps(event, indent=2)
        header = WebhookSignature.generate_signature_header(body, SECRET)
        made.append(
            b"POST /webhooks/stripe HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json"
            b"\r\nStripe-Signature: %s\r\nContent-Length: %d\r\n\r\n%s"
            % (header.encode(), len(body), body.encode())
        )
    return made


def _empty(engine: Engine, servers: Servers) -> None:
    """Each round starts alike; otherwise the later ones would drag what the earlier ones left."""
    with engine.begin() as connection:
        connection.execute(text("truncate events"))
    with redis.Redis.from_url(servers.redis_url) as client:
        client.flushdb()


def _check_stored(engine: Engine) -> None:
    with engine.connect() as connection:
        stored = connection.scalar(text("select count(*) from events where state = 'pending'"))
    if stored != EVENTS_A_ROUND:
        raise SystemExit(f"{EVENTS_A_ROUND} events were answered 200, {stored} are in the table")


if __name__ == "__main__":
    main()
