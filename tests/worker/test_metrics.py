"""Relay and worker tell how they are, at an address of their own, also after a restart."""

import os
import signal

import psutil
import requests

from backoffice.local.network import free_port
from tests.support.workshop import Workshop, eventually


def told(port: int) -> str:
    """What the process at the port tells; empty while nobody answers."""
    try:
        return requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    except requests.ConnectionError:
        return ""


def test_the_relay_counts_its_hints(workshop: Workshop) -> None:
    port = free_port()
    workshop.event("sub:quick-1")
    workshop.relay(TRUEUP_METRICS_LISTEN=f"127.0.0.1:{port}", TRUEUP_HINT_LEASE_S="60")
    eventually(lambda: "trueup_relay_hinted_keys_total 1.0" in told(port))
    eventually(lambda: "trueup_queue_depth 1.0" in told(port))


def test_a_worker_counts_its_work_and_how_often_it_was_started_anew(workshop: Workshop) -> None:
    port = free_port()
    workshop.relay_here()
    workshop.event("sub:quick-1")
    worker = workshop.worker(TRUEUP_METRICS_LISTEN=f"127.0.0.1:{port}")
    eventually(lambda: 'trueup_worked_off_total{ended="done",scope="sub"} 1.0' in told(port))
    assert 'trueup_worker_restarts_total{reason="killed"} 0.0' in told(port)
    (child,) = psutil.Process(worker.pid).children()
    os.kill(child.pid, signal.SIGKILL)
    eventually(lambda: 'trueup_worker_restarts_total{reason="killed"} 1.0' in told(port))
