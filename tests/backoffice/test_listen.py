"""`trueup listen` shows what is signed, and answers 401 to the rest."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from pydantic import SecretStr

from backoffice.local.network import accepts, free_port
from reconcile.outward.delivery import signed

SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSB0ZXN0cywgYSBsb25nIG9uZQ=="
BODY = b'{"type":"seats.limit_reached","data":{"organization_id":"org_1","summary":"It is full."}}'


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A listener's url, and the file it writes to."""
    port, out = free_port(), tmp_path / "shown"
    with out.open("wb") as written:
        running = subprocess.Popen(
            [sys.executable, "-m", "backoffice", "listen", "--port", str(port)],
            env=os.environ | {"TRUEUP_HOST_WEBHOOK_SECRETS": SECRET, "PYTHONUNBUFFERED": "1"},
            stdout=written,
            stderr=subprocess.DEVNULL,
        )
        try:
            until = time.monotonic() + 60
            while not accepts(port):
                assert time.monotonic() < until
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}", out
        finally:
            running.kill()
            running.wait()


def test_what_is_signed_is_shown_in_a_line(shown: tuple[str, Path]) -> None:
    url, out = shown
    good = signed("ntc_1", BODY, (SecretStr(SECRET),), at=datetime.now(UTC))
    assert requests.post(url, data=BODY, headers=good, timeout=10).status_code == 204
    assert requests.post(url, data=BODY + b" ", headers=good, timeout=10).status_code == 401
    assert requests.post(url, data=BODY, timeout=10).status_code == 401
    assert out.read_text() == "seats.limit_reached  org_1  It is full.\n"


def test_without_a_secret_it_does_not_start() -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("TRUEUP_")}
    ran = subprocess.run(
        [sys.executable, "-m", "backoffice", "listen"],
        env=plain,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 2
    assert "TRUEUP_HOST_WEBHOOK_SECRETS is not set" in ran.stderr


def test_a_port_that_is_taken_is_said_in_a_sentence(shown: tuple[str, Path]) -> None:
    url, _ = shown
    ran = subprocess.run(
        [sys.executable, "-m", "backoffice", "listen", "--port", url.rpartition(":")[2]],
        env=os.environ | {"TRUEUP_HOST_WEBHOOK_SECRETS": SECRET},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, "Traceback" in ran.stderr) == (1, False)
    assert "choose one with --port" in ran.stderr
