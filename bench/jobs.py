"""Jobs a second: RQ's worker that forks for each job, beside ours that runs them itself.

`make bench-jobs`. Both work off the same inbox with the same code, on a durable PostgreSQL,
in turns in one run: two commits and a lock a job, no Stripe call. Prints figures and a ratio.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from rq import Worker
from rq.serializers import JSONSerializer
from sqlalchemy import Engine, text

from backoffice.local.servers import throwaway_servers
from reconcile import log
from reconcile.budget import Unbudgeted
from reconcile.database import build_engine
from reconcile.services import Services, build_services
from reconcile.settings import Settings
from reconcile.settling.course import Settled
from reconcile.settling.work import WorkReport, work_off
from reconcile.store.work import ClaimedEvent
from worker import jobs, process
from worker.deadline import Lease
from worker.queues import NAME, Queue, connect

ROOT = Path(__file__).parent.parent
SECONDS = float(os.environ.get("BENCH_SECONDS", "4"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
JOBS = 5000

PUT = """
insert into events (id, source, kind, type, work_key, payload, due_at)
select 'evt_' || n, 'webhook', 'snapshot', 'bench', 'sub:' || n, '{}', now()
from generate_series(1, :jobs) as n
"""


def keep(services: Services, work_key: str, batch: list[ClaimedEvent]) -> Settled:
    """Settle nothing: the queue, the lock and the rows are what is measured."""
    del services, work_key, batch
    return Settled(line="kept")


WORK = partial(work_off, settle=keep)


def in_fork(services: Services, work_key: str) -> WorkReport:
    """Work in RQ's child: connections of the parent are not its own."""
    services.engine.dispose(close=False)
    services.sessions.kw["bind"].dispose(close=False)
    return WORK(services, work_key)


def run_forking(settings: Settings) -> None:
    """One worker as RQ makes them."""
    log.configure(settings)
    services = build_services(settings, Unbudgeted())
    desk = jobs.Desk(services=services, lease=Lease(), work=in_fork)
    with jobs.at(desk):
        worker = Worker([NAME], connection=connect(settings), serializer=JSONSerializer)
        worker.work(logging_level=None)


def done(engine: Engine) -> int:
    """How many jobs are done."""
    with engine.connect() as connection:
        return int(connection.scalar(text("select count(*) from events where state = 'done'")) or 0)


@contextmanager
def workers(kind: str, count: int, env: dict[str, str]) -> Iterator[None]:
    """So many worker processes; ended at the end."""
    argv = [sys.executable, "-m", "bench.jobs", kind]
    running = [subprocess.Popen(argv, env=env, cwd=ROOT) for _ in range(count)]
    try:
        yield
    finally:
        for each in running:
            each.terminate()
        for each in running:
            each.wait()


def measure(kind: str, count: int, settings: Settings, engine: Engine) -> float:
    """Return jobs a second, from the first one done."""
    with engine.begin() as connection:
        connection.execute(text("truncate events"))
        connection.execute(text(PUT), {"jobs": JOBS})
    with connect(settings) as server:
        server.flushdb()
    Queue(settings).hint([f"sub:{number}" for number in range(1, JOBS + 1)])
    env = os.environ | {
        "TRUEUP_DATABASE_URL": settings.database_url,
        "TRUEUP_REDIS_URL": settings.redis_url,
        "TRUEUP_CATALOG_PATH": str(settings.catalog_path),
        "TRUEUP_LOG_LEVEL": "error",
    }
    with workers(kind, count, env):
        while not done(engine):
            time.sleep(0.01)
        before, began = done(engine), time.monotonic()
        while time.monotonic() < began + SECONDS and done(engine) < JOBS:
            time.sleep(0.05)
        return (done(engine) - before) / (time.monotonic() - began)


def main() -> None:
    """Measure each kind in turns and print what came out."""
    kinds = (("forking", 1), ("in-process", 1), ("in-process", 2))
    with throwaway_servers(ROOT / ".trueup", durable=True) as servers:
        settings = Settings(
            database_url=servers.database_url,
            redis_url=servers.redis_url,
            catalog_path=ROOT / "catalog.example.toml",
            hint_lease_s=600,
        )
        engine = build_engine(settings.database_url)
        rates: dict[tuple[str, int], list[float]] = {kind: [] for kind in kinds}
        for _ in range(ROUNDS):
            for kind in kinds:
                rates[kind].append(measure(*kind, settings, engine))
        engine.dispose()
    baseline = median(rates[kinds[0]])
    for (name, count), found in rates.items():
        told = ", ".join(f"{rate:.0f}" for rate in found)
        rate = median(found)
        print(f"{count} {name:10} {rate:6.0f} jobs/s  {rate / baseline:5.1f} x   rounds: {told}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            main()
        case ["forking"]:
            run_forking(Settings())
        case ["in-process"]:
            process.main(Settings(), WORK, open_all=build_services)
