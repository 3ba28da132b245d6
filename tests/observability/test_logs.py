"""Whatever goes in, no secret, no card and nobody comes out: of any process, in any stream.

Every door is fed with bodies, headers, settings, files and errors that are full of them; then all
that was written anywhere is read. And one line an outcome says what it is about.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson
import pytest
import requests
from sqlalchemy import select

from backoffice.local.network import LOOPBACK
from backoffice.local.servers import Servers
from reconcile.settings import Settings
from reconcile.tables import events
from tests.observability.conftest import Installation, deliver, lowered_below_the_floor
from tests.reconcile.nights.test_prune import a_full_event
from tests.support.api import a_token
from tests.support.services import environment
from tests.support.shop import Shop
from tests.support.webhooks import post_event
from tests.support.workshop import eventually

ROOT = Path(__file__).parent.parent.parent
LIVE_KEY = "sk_live_51HverySecretKeyOfTheTests"
PASSWORD = "hunter2-of-the-database"
CARD = "4242424242424242"
# What must be nowhere. Each is put in at several doors.
HIDDEN = {
    "a live key": "51HverySecretKey",
    "a password": "hunter2",
    "a card": CARD,
    "a card with blanks": "4242 4242 4242",
    "an address": "ann.lee@example.com",
    "a name": "Ann Leeson",
    "a phone": "+15550100",
    "a street": "1 Hidden Street",
    "a client secret": "YrKJUKribcBjcG8HVhfZ",
    "a webhook secret": "of_the_tests_hidden",
}
EVERYTHING = (
    f"{LIVE_KEY} postgresql://trueup:{PASSWORD}@db/x {CARD} 4242 4242 4242 4242 "
    "ann.lee@example.com pi_3Mt_secret_YrKJUKribcBjcG8HVhfZluoGH whsec_of_the_tests_hidden "
    + json.dumps({"name": "Ann Leeson", "phone": "+15550100", "line1": "1 Hidden Street"})
)
PERSON = {
    "email": "ann.lee@example.com",
    "name": "Ann Leeson",
    "phone": "+15550100",
    "address": {"line1": "1 Hidden Street"},
    "card": {"number": CARD, "last4": "4242"},
    "note": EVERYTHING,
}


def hidden_in(text: str) -> list[str]:
    return [what for what, value in HIDDEN.items() if value in text]


@contextmanager
def stripe_that_tells_all(sandbox_url: str) -> Iterator[str]:
    """Prices are the sandbox's; whatever else is asked is refused with everything in the words."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/v1/prices"):
                headers = {"Authorization": self.headers["Authorization"]}
                found = requests.get(sandbox_url + self.path, headers=headers, timeout=10)
                self.answer(found.status_code, found.content)
            else:
                told = {"error": {"type": "invalid_request_error", "message": EVERYTHING}}
                self.answer(400, json.dumps(told).encode())

        def do_POST(self) -> None:
            self.do_GET()

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Request-Id", "req_told")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.timeout(300)  # five processes, on a busy machine
def test_long_running_processes_write_none_of_it(
    installation: Installation, shop: Shop, servers: Servers
) -> None:
    written_before = _server_logs(servers)
    with stripe_that_tells_all(shop.sandbox.url) as stripe:
        for name in ("receiver", "relay", "worker", "schedule", "api"):
            installation.start(name, stripe_api_base=stripe, log_level="debug")
        event = a_full_event()
        event["api_version"] = "2024-06-20"  # so that Stripe is asked
        event["data"]["object"]["customer"] |= PERSON
        event["data"]["object"]["metadata"] |= {"note": EVERYTHING}
        deliver(installation, event)
        door = installation.url("receiver")
        for body in (orjson.dumps(PERSON), EVERYTHING.encode(), b"\xff" + EVERYTHING.encode()):
            header = {"Stripe-Signature": f"t=1,v1={EVERYTHING}", "Authorization": LIVE_KEY}
            answer = requests.post(
                f"{door}/webhooks/stripe",
                data=body,
                headers={k: v.encode() for k, v in header.items()},
                timeout=10,
            )
            assert answer.status_code == 400
            assert not hidden_in(answer.text)
        post_event(door, {"id": "evt_odd", "object": "event", **PERSON})
        said = _ask_the_api(installation, shop)
        eventually(lambda: _state(shop, event["id"]) == "dead")
        eventually(lambda: "worked off" in installation.written())
        installation.stop()
    written = installation.written()
    assert '"event":"dead letter"' in written, "the worker met the error"
    assert "StripeRejected" in written, "with its traceback"
    assert not hidden_in(written)
    assert not hidden_in(said)
    assert not hidden_in(_server_logs(servers).removeprefix(written_before))
    with shop.services.sessions() as session:
        kept = session.execute(select(events.c.reason, events.c.tries)).all()
    assert not hidden_in(str(kept))


def _ask_the_api(installation: Installation, shop: Shop) -> str:
    """Call the API with a person in every place; returns what it answered where nobody was asked
    for."""
    token = a_token(shop.services, "read", "members")
    url = installation.url("api")
    answers = []
    for given in (f"Bearer {token}", f"Bearer {LIVE_KEY}", "Bearer " + "x" * 90, "Basic Og=="):
        headers = {"Authorization": given}
        paths = ("/v1/organizations/org_1", f"/v1/{EVERYTHING}", "/v1/organizations?limit=x")
        answers += [requests.get(url + p, headers=headers, timeout=10).status_code for p in paths]
        for body in (json.dumps(PERSON), EVERYTHING, "{", json.dumps([PERSON])):
            requests.post(
                f"{url}/v1/organizations/org_1/members",
                data=body.encode(),
                headers=headers | {"Content-Type": "application/json"},
                timeout=10,
            )
    assert 200 in answers or 404 in answers
    assert token.rpartition("_")[2] not in installation.written()
    return str(answers)


def _state(shop: Shop, event_id: str) -> str:
    with shop.services.sessions() as session:
        return str(session.scalars(select(events.c.state).where(events.c.id == event_id)).one())


def _server_logs(servers: Servers) -> str:
    return "".join(each.log.read_text(errors="replace") for each in servers.processes)


def run(settings: Settings, *arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("TRUEUP_")}
    named = {f"TRUEUP_{name.upper()}": value for name, value in given.items()}
    return subprocess.run(
        [sys.executable, "-m", "backoffice", *arguments],
        env=env | environment(settings) | named,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


BAD_DATABASE = f"postgresql://trueup:{PASSWORD}@127.0.0.1:1/trueup"


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["migrate"], {"database_url": BAD_DATABASE}),
        (["migrate"], {"database_url": f"mysql://trueup:{PASSWORD}@127.0.0.1:1/x"}),
        (["doctor"], {"database_url": BAD_DATABASE, "stripe_api_key": LIVE_KEY}),
        (["doctor", "--json"], {"redis_url": f"redis://:{PASSWORD}@127.0.0.1:1/0"}),
        (["nightly"], {"stripe_api_base": "http://127.0.0.1:1", "stripe_api_key": LIVE_KEY}),
        (["nightly"], {"webhook_secrets": "whsec_of_the_tests_hidden"}),
        (["nightly"], {"stripe_timeout_s": LIVE_KEY}),
        (["relay"], {"redis_url": f"nonsense://:{PASSWORD}@127.0.0.1:1/0"}),
        (["token", "revoke", EVERYTHING, "--because", "lost"], {}),
    ],
    ids=lambda value: " ".join(value)[:20] if isinstance(value, list) else "-".join(value),
)
def test_commands_that_fail_write_none_of_it(
    settings: Settings, arguments: list[str], given: dict[str, str]
) -> None:
    ended = run(settings, *arguments, **given)
    said = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert said
    assert not hidden_in(said.replace("\n", ""))


def test_a_worker_whose_stripe_is_away_writes_none_of_it(installation: Installation) -> None:
    for name in ("receiver", "relay", "worker"):
        away = {"stripe_api_base": "http://127.0.0.1:1", "stripe_api_key": LIVE_KEY}
        installation.start(name, **away)
    event = a_full_event()
    event["api_version"] = "2024-06-20"  # so that Stripe is asked
    deliver(installation, event)
    eventually(lambda: "Stripe could not be reached" in installation.written())
    installation.stop()
    assert not hidden_in(installation.written())


def test_an_import_that_is_refused_writes_none_of_it(settings: Settings, tmp_path: Path) -> None:
    members = tmp_path / "members.csv"
    members.write_text(
        "organization_id,id,role,seat_type,status,email\n"
        f"org_1,mem_1,admin,base,nonsense,ann.lee@example.com\n"
        f"org_1,mem_2,{LIVE_KEY},voice,active,b\n",
        encoding="utf-8",
    )
    ended = run(settings, "import", str(members))
    assert ended.returncode != 0
    assert "members.csv:2" in ended.stderr
    assert not hidden_in(ended.stdout + ended.stderr)


def test_a_defect_of_ours_shows_a_traceback_without_secrets() -> None:
    """The last resort: an error nobody caught, in the main thread or in another."""
    fail = "\n".join(
        (
            "import threading",
            "from reconcile import log; from reconcile.settings import Settings",
            "log.configure(Settings())",
            "def fail(): raise RuntimeError(open(0).read())",
            "thread = threading.Thread(target=fail); thread.start(); thread.join()",
            f"raise KeyError({EVERYTHING!r})",
        )
    )
    ended = subprocess.run(
        [sys.executable, "-c", fail], input=EVERYTHING, capture_output=True, text=True, check=False
    )
    assert ended.returncode != 0
    assert len(ended.stderr.splitlines()) == 2, ended.stderr
    assert all("Error" in json.loads(line)["exception"] for line in ended.stderr.splitlines())
    assert not hidden_in(ended.stdout + ended.stderr)


def test_one_line_an_outcome_says_what_it_is_about(installation: Installation, shop: Shop) -> None:
    subscription, event = lowered_below_the_floor(shop)
    for name in ("receiver", "relay", "worker"):
        installation.start(name)
    deliver(installation, event)
    eventually(lambda: _state(shop, event["id"]) == "done")
    installation.stop()
    lines = map(json.loads, installation.running["worker"].log.read_text().splitlines())
    outcomes = [line for line in lines if line["event"] == "worked off"]
    (outcome,) = [line for line in outcomes if line["event_id"] == event["id"]]
    (adjustment,) = shop.adjustments(subscription)
    about = {
        "work_key": f"sub:{subscription}",
        "adjustment": adjustment.id,
        "organization": "org_1",
        "ended": "done",
        "attempt": 1,
        "level": "info",
    }
    assert about.items() <= outcome.items()
    assert outcome["stripe_request_id"].startswith("req_")
    assert outcome["job"]
