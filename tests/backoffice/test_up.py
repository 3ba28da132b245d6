"""`trueup up`: one command, everything runs; told to stop or killed, nothing is left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests

from backoffice.local.account import temporary_home, unprivileged_account
from backoffice.local.network import answers_http, free_port

ROOT = Path(__file__).parent.parent.parent
START_S = 120
PARTS = {
    *("postgres", "valkey", "sandbox"),
    *("receiver", "api", "relay", "worker-1", "worker-2", "schedule"),
}


@pytest.fixture
def home() -> Iterator[Path]:
    """A data directory of its own, in a place the database's account can enter."""
    made = temporary_home(unprivileged_account())
    yield made
    shutil.rmtree(made)


def wait_until(true: Callable[[], bool], within_s: float = START_S) -> None:
    """Wait for something other processes do."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


@contextmanager
def started_up(home: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """`trueup up` with an environment of its own, ready; killed at the end if it still runs."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TRUEUP_")}
    env["TRUEUP_DATA_DIR"] = str(home)
    api_port = free_port()
    with (home / "up.log").open("wb") as log:
        running = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "backoffice",
                "up",
                "--port",
                str(port),
                "--api-port",
                str(api_port),
            ],
            env=env,
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
        try:
            wait_until(lambda: running.poll() is not None or _ready(port, api_port))
            assert running.poll() is None, (home / "up.log").read_text()
            yield running
        finally:
            if running.poll() is None:
                running.kill()
            running.wait()


def _ready(*ports: int) -> bool:
    return all(answers_http(port, "/readyz") for port in ports)


def records(home: Path) -> dict[str, int]:
    """The running parts, by name, with their process ids."""
    found = {}
    for record in (home / "run").glob("*.json"):
        found[record.stem] = int(json.loads(record.read_text())["pid"])
    return found


def sandbox_url(home: Path) -> str:
    """Where the sandbox listens, from its own first line."""
    first = (home / "log" / "sandbox.log").read_text().strip().splitlines()[-1]
    return first.rpartition(" ")[2]


@pytest.mark.timeout(400)
def test_up_runs_everything_and_leaves_nothing(home: Path) -> None:
    port = free_port()
    with started_up(home, port) as killed:
        parts = records(home)
        assert set(parts) == PARTS
        shared = home / "env"
        assert shared.stat().st_mode & 0o777 == 0o600
        assert "export TRUEUP_STRIPE_API_BASE=" in shared.read_text()

        # Stripe's side of it is connected: what happens there arrives here, signed.
        sandbox = sandbox_url(home)
        requests.post(f"{sandbox}/v1/customers", auth=("sk_test_1", ""), timeout=10)
        events = requests.get(f"{sandbox}/v1/events", auth=("sk_test_1", ""), timeout=10).json()
        assert "customer.created" in {one["type"] for one in events["data"]}
        wait_until(lambda: "200" in _deliveries(sandbox))

        # A part that dies is started again.
        psutil.Process(parts["relay"]).kill()
        wait_until(lambda: records(home).get("relay", parts["relay"]) != parts["relay"])

        # Killed without a chance to clean up, it takes its parts along.
        parts = records(home)
        killed.kill()
        killed.wait()
        wait_until(lambda: not any(psutil.pid_exists(pid) for pid in parts.values()))

    with started_up(home, port) as stopped:
        parts = records(home)
        assert set(parts) == PARTS
        stopped.send_signal(signal.SIGTERM)
        assert stopped.wait(START_S) == 0
        assert not any(psutil.pid_exists(pid) for pid in parts.values())
        assert records(home) == {}
        assert not (home / "env").exists()


def _deliveries(sandbox: str) -> str:
    return requests.get(f"{sandbox}/_sandbox/deliveries", timeout=10).text
