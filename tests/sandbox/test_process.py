"""The sandbox as a process: says where it listens, on loopback, and ends when told to."""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.sandbox.client import Api

# The delivery that hangs would take ten seconds and be tried again, time after time.
END_S = 9.0


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "sandbox", "--port", "0", "--retry-scale", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        yield running
        running.kill()


def address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
    assert found is not None, "it did not say where it listens"
    return found.group()


def test_it_serves_and_ends_although_a_receiver_hangs(process: subprocess.Popen[str]) -> None:
    api = Api(address(process))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/never-answers"
        api.post("/v1/webhook_endpoints", {"url": url, "enabled_events": ["*"]})
        api.post("/v1/customers", {"email": "a@example.com"})
        silent.accept()[0].close()
        connection, _ = silent.accept()  # tried again at once, and now nobody answers
        api.close()
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(END_S) == 0
        assert time.monotonic() - started < END_S
        connection.close()
