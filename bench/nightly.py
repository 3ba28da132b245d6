"""The nightly run over many subscriptions: `python -m bench.nightly`, or `make bench-nightly`.

A hundred thousand subscriptions on the sandbox, one percent of them drifted, on a durable
PostgreSQL. Prints Stripe calls, seconds and peak memory, beside the time the sandbox takes to
serve the same pages to a client that does nothing with them. `BENCH_SUBSCRIPTIONS` and
`BENCH_DRIFT_EVERY` make it smaller or worse. The run is a process of its own, which is measured.
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import requests

from backoffice.local.network import LOOPBACK, accepts, free_port
from backoffice.local.processes import Command, Process
from backoffice.local.servers import throwaway_servers
from bench import nightly_world as world
from reconcile import log
from reconcile.budget import Unbudgeted
from reconcile.database import build_engine
from reconcile.nights import nightly
from reconcile.nights.report import Report
from reconcile.services import build_services
from reconcile.settings import Settings

ROOT = Path(__file__).parent.parent
SUBSCRIPTIONS = int(os.environ.get("BENCH_SUBSCRIPTIONS", "100000"))
DRIFT_EVERY = int(os.environ.get("BENCH_DRIFT_EVERY", "100"))
FIRST_NIGHT = date(2026, 1, 1)
PAGE = 100
MOST_CALLS_A_DRIFT = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """One night: its report, what it asked of Stripe, and what its process took."""

    report: Report
    calls: int
    peak_mb: float
    empty_mb: float  # the process before the run


def run_once(night: str) -> None:
    """In the process that is measured: one run, its report and memory as JSON."""
    settings = Settings()
    log.configure(settings)
    services = build_services(settings, Unbudgeted())
    empty_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = nightly.run(services, date.fromisoformat(night), writes=True)
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = {"report": report.as_json(), "empty_kb": empty_kb, "peak_kb": peak_kb}
    sys.stdout.buffer.write(orjson.dumps(told))


def measure(night: date, environment: dict[str, str], url: str) -> Measured:
    """Run one night in a process of its own."""
    before = calls(url)
    ran = subprocess.run(
        [sys.executable, "-m", "bench.nightly", night.isoformat()],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    told = orjson.loads(ran.stdout)
    return Measured(
        report=Report.of_json(night, told["report"]),
        calls=calls(url) - before,
        peak_mb=told["peak_kb"] / 1024,
        empty_mb=told["empty_kb"] / 1024,
    )


def calls(url: str) -> int:
    """Return how many calls the sandbox was asked."""
    answer = requests.get(f"{url}/_sandbox/calls", params={"limit": 1}, timeout=world.TIMEOUT_S)
    answer.raise_for_status()
    return int(answer.json()["total"])


def serve_pages(url: str) -> float:
    """Return the seconds the sandbox takes to serve every page, one after another."""
    started, after = time.perf_counter(), None
    with requests.Session() as session:
        session.auth = (world.KEY, "")
        while True:
            params = {"limit": PAGE} | ({"starting_after": after} if after else {})
            body = session.get(
                f"{url}/v1/subscriptions", params=params, timeout=world.TIMEOUT_S
            ).content
            page = orjson.loads(body)
            if not page["has_more"]:
                return time.perf_counter() - started
            after = page["data"][-1]["id"]


@contextmanager
def sandbox(home: Path) -> Iterator[str]:
    """A sandbox as a process of its own; its url."""
    port = free_port()
    argv = (sys.executable, "-m", "sandbox", "--port", str(port))
    command = Command(name="sandbox", argv=argv, env=dict(os.environ), ready=lambda: accepts(port))
    process = Process(command, home)
    process.start()
    try:
        process.wait_ready()
        yield f"http://{LOOPBACK}:{port}"
    finally:
        process.stop()


def main() -> None:
    """Seed, measure, print."""
    with (
        TemporaryDirectory(prefix="trueup-bench-") as home,
        throwaway_servers(ROOT / ".trueup", durable=True) as servers,
        sandbox(Path(home)) as url,
    ):
        started = time.perf_counter()
        prices = world.create_prices(url)
        world.seed_sandbox(url, prices, SUBSCRIPTIONS, drift_every=DRIFT_EVERY)
        engine = build_engine(servers.database_url)
        world.seed_database(engine, prices, SUBSCRIPTIONS)
        engine.dispose()
        print(
            f"{SUBSCRIPTIONS:,} subscriptions, one in {DRIFT_EVERY} drifted; "
            f"seeded in {time.perf_counter() - started:.1f} s"
        )
        environment = os.environ | {
            "TRUEUP_DATABASE_URL": servers.database_url,
            "TRUEUP_REDIS_URL": servers.redis_url,
            "TRUEUP_STRIPE_API_KEY": world.KEY,
            "TRUEUP_STRIPE_API_BASE": url,
            "TRUEUP_CATALOG_PATH": str(world.write_catalog(Path(home) / "catalog.toml", prices)),
            "TRUEUP_LOG_LEVEL": "error",
        }
        serving = [serve_pages(url)]
        drifted = measure(FIRST_NIGHT, environment, url)
        serving.append(serve_pages(url))
        quiet = measure(FIRST_NIGHT + timedelta(days=1), environment, url)
        serving.append(serve_pages(url))
        show(drifted, quiet, sorted(serving)[1])


def show(drifted: Measured, quiet: Measured, serving_s: float) -> None:
    """Print the figures as they are."""
    pages = -(-SUBSCRIPTIONS // PAGE)
    found = drifted.report.differences
    allowed = pages + MOST_CALLS_A_DRIFT * found
    print(f"the sandbox serves its {pages:,} pages in {serving_s:.1f} s (median of 3)")
    for name, night in (("drifted", drifted), ("the night after", quiet)):
        report = night.report
        print(
            f"{name}: {report.seconds:.1f} s, {night.calls:,} Stripe calls, "
            f"{report.differences:,} differing, {report.settled:,} settled, "
            f"{report.failed:,} failed, {report.adjustments.get('applied', 0):,} raised; "
            f"peak {night.peak_mb:.0f} MB ({night.peak_mb - night.empty_mb:.0f} MB of it the run)"
        )
    print(f"calls: {drifted.calls:,} of {allowed:,} allowed (N/100 + 3 a drift)")
    ratio = quiet.report.seconds / serving_s
    print(f"ratio: a night without drift takes {ratio:.2f} times the serving of its pages")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run_once(sys.argv[1])
    else:
        main()
