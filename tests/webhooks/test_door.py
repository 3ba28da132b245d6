"""The public door over real HTTP: what is let in, what is refused, what it says of itself."""

import http.client
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
import requests
from sqlalchemy import Engine, select, text

from backoffice.local.network import free_port
from backoffice.screen import screen
from reconcile.operating.screen import Part
from reconcile.settings import Settings
from reconcile.tables import events
from tests.support.services import running_services
from tests.support.stripe_events import VERSIONS, invoice, snapshot, subscription, thin
from tests.support.webhooks import post_event, signature
from tests.support.workshop import eventually
from tests.webhooks.conftest import CONNECT_SECRET, Receiver

StartReceiver = Callable[..., AbstractContextManager[Receiver]]


def stored(engine: Engine, event_id: str) -> Any:
    with engine.connect() as connection:
        return connection.execute(select(events).where(events.c.id == event_id)).one()


def a_change(**fields: Any) -> dict[str, Any]:
    return snapshot("customer.subscription.updated", subscription(), **fields)


def ask_ready(receiver: Receiver) -> requests.Response:
    """Ask past the answer from memory, which is good for a second."""
    time.sleep(1.1)
    return requests.get(f"{receiver.url}/readyz", timeout=30)


def test_an_event_is_in_the_table_when_it_is_answered(receiver: Receiver, engine: Engine) -> None:
    body = orjson.dumps(a_change(id="evt_raw", note="é"))
    answer = post_event(receiver.url, body)
    assert (answer.status_code, answer.json()) == (200, {"event": "evt_raw", "state": "pending"})
    found = stored(engine, "evt_raw")
    assert bytes(found.payload) == body
    assert (found.secret_name, found.source, found.work_key) == ("main", "webhook", "sub:sub_1")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_comes_in(receiver: Receiver, engine: Engine, version: str) -> None:
    for event in (
        snapshot("customer.subscription.updated", subscription(version), version),
        snapshot("invoice.paid", invoice(version), version),
    ):
        assert post_event(receiver.url, event).status_code == 200
        found = stored(engine, event["id"])
        assert (found.work_key, found.api_version) == ("sub:sub_1", version)


def test_a_thin_notification_comes_in(receiver: Receiver, engine: Engine) -> None:
    note = thin("v1.customer.subscription.item_quantity_changed", "sub_7", "subscription")
    assert post_event(receiver.url, note, secret=CONNECT_SECRET).status_code == 200
    found = stored(engine, note["id"])
    assert (found.kind, found.work_key, found.secret_name) == ("thin", "sub:sub_7", "connect")


@pytest.mark.parametrize(
    "event",
    [
        a_change(livemode=True),
        a_change(account="acct_other"),
        a_change(type="payout.paid"),
        a_change(type="not.yet.invented"),
    ],
    ids=["wrong mode", "wrong account", "other type", "unknown type"],
)
def test_what_is_authentic_is_kept_with_the_reason(
    receiver: Receiver, engine: Engine, event: dict[str, Any]
) -> None:
    """on_call.nothing_vanishes."""
    answer = post_event(receiver.url, event)
    assert (answer.status_code, answer.json()["state"]) == (200, "ignored")
    found = stored(engine, event["id"])
    assert (found.state, found.work_key) == ("ignored", None)
    assert found.reason


def test_an_authentic_body_that_is_no_event_is_kept(
    receiver: Receiver, count_events: Callable[[], int]
) -> None:
    """on_call.nothing_vanishes."""
    for body in (b"not json", b'{"id": "evt_\\u0000"}', b"[1]", b"{}"):
        answer = post_event(receiver.url, body)
        assert (answer.status_code, answer.json()["state"]) == (200, "ignored")
    assert count_events() == 4


# Signed when the test runs, not when it is collected: a long suite must not age them.
@pytest.mark.parametrize(
    "sign",
    [
        lambda: "",
        lambda: "t=1,v1=00",
        lambda: signature(b"another body"),
        lambda: signature(b"{}", secret="whsec_wrong"),
        lambda: signature(b"{}", at=time.time() - 400),
        lambda: signature(b"{}", at=time.time() + 60),
        None,
    ],
    ids=["empty", "forged", "other body", "other secret", "old", "future", "no header"],
)
def test_what_is_not_authentic_is_refused_and_not_kept(
    receiver: Receiver, count_events: Callable[[], int], sign: Callable[[], str] | None
) -> None:
    headers = {"Stripe-Signature": sign()} if sign else {}
    answer = requests.post(
        f"{receiver.url}/webhooks/stripe", data=b"{}", headers=headers, timeout=30
    )
    assert answer.status_code == 400
    assert answer.json() == {"error": "the signature does not match"}
    assert count_events() == 0


def test_bytes_that_are_not_utf8_are_refused(
    receiver: Receiver, count_events: Callable[[], int]
) -> None:
    headers = {"Stripe-Signature": signature(b"{}")}
    answer = requests.post(
        f"{receiver.url}/webhooks/stripe", data=b"\xff\xfe{}", headers=headers, timeout=30
    )
    assert (answer.status_code, count_events()) == (400, 0)


def test_a_body_over_the_cap_is_neither_read_nor_cut(
    receiver: Receiver, engine: Engine, count_events: Callable[[], int]
) -> None:
    largest = orjson.dumps(a_change(id="evt_largest"))
    largest += b" " * (20_000 - len(largest))
    assert post_event(receiver.url, largest).status_code == 200
    assert len(stored(engine, "evt_largest").payload) == 20_000
    assert post_event(receiver.url, largest + b" ").status_code == 413
    # The announced size is enough: the answer comes before a byte of the body was sent.
    connection = http.client.HTTPConnection(urlsplit(receiver.url).netloc, timeout=30)
    connection.putrequest("POST", "/webhooks/stripe")
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    assert count_events() == 1


def test_a_body_without_a_stated_length_is_capped_too(
    receiver: Receiver, count_events: Callable[[], int]
) -> None:
    body = orjson.dumps(a_change())

    def send(content: bytes) -> int:
        chunks = (content[start : start + 1000] for start in range(0, len(content), 1000))
        headers = {"Stripe-Signature": signature(content)}
        url = f"{receiver.url}/webhooks/stripe"
        return requests.post(url, data=chunks, headers=headers, timeout=30).status_code

    assert send(body) == 200
    assert send(body + b" " * 30_000) == 413
    assert count_events() == 1


def test_there_is_nothing_else_behind_the_door(receiver: Receiver) -> None:
    for path in ("/", "/admin", "/metrics", "/webhooks", "/webhooks/stripe/", "/static/x"):
        answer = requests.get(receiver.url + path, timeout=30)
        assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})
    for method in ("GET", "PUT", "DELETE", "HEAD"):
        answer = requests.request(method, f"{receiver.url}/webhooks/stripe", timeout=30)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_no_answer_may_be_kept_framed_or_taken_for_a_page(receiver: Receiver) -> None:
    answers = [requests.get(receiver.url + path, timeout=30) for path in ("/healthz", "/x")]
    answers += [post_event(receiver.url, a_change()), post_event(receiver.url, b"x", secret="no")]
    for answer in answers:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Content-Type"] == "application/json"


def test_a_redelivery_is_counted_and_answered_alike(receiver: Receiver, engine: Engine) -> None:
    event = a_change()
    assert [post_event(receiver.url, event).status_code for _ in range(3)] == [200, 200, 200]
    assert stored(engine, event["id"]).deliveries == 3


def test_alive_and_ready(receiver: Receiver) -> None:
    assert requests.get(f"{receiver.url}/healthz", timeout=30).json() == {"status": "alive"}
    answer = ask_ready(receiver)
    assert answer.status_code == 200
    assert set(answer.json()["checks"].values()) == {"ok"}
    assert answer.json()["oldest_unfinished_s"] is None


def test_an_event_nobody_takes_makes_it_unready(receiver: Receiver, engine: Engine) -> None:
    event = a_change()
    post_event(receiver.url, event)
    with engine.begin() as connection:
        connection.execute(text("update events set received_at = now() - interval '601 s'"))
        connection.execute(text("update events set due_at = received_at"))
    answer = ask_ready(receiver)
    assert answer.status_code == 503
    assert "600 s" in answer.json()["checks"]["backlog"]
    assert answer.json()["unfinished_events"] == 1
    assert requests.get(f"{receiver.url}/healthz", timeout=30).status_code == 200


def test_a_queue_that_is_away_makes_it_unready_but_events_come_in(
    start_receiver: StartReceiver, count_events: Callable[[], int]
) -> None:
    with start_receiver(redis_url=f"redis://127.0.0.1:{free_port()}/0") as running:
        answer = requests.get(f"{running.url}/readyz", timeout=30)
        assert answer.status_code == 503
        assert answer.json()["checks"]["queue"].startswith("no answer")
        assert answer.json()["checks"]["database"] == "ok"
        assert post_event(running.url, a_change()).status_code == 200
    assert count_events() == 1


def test_metrics_add_the_processes_up_on_an_address_of_their_own(
    start_receiver: StartReceiver,
) -> None:
    port = free_port()

    def read() -> tuple[str, dict[str, str]]:
        page = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
        counted = r"^trueup_webhook_requests_total\{(.*)\} (\S+)$"
        return page, dict(re.findall(counted, page, re.MULTILINE))

    with start_receiver(metrics_listen=f"127.0.0.1:{port}") as running:
        _, before = read()
        for _ in range(12):
            post_event(running.url, a_change())
        post_event(running.url, a_change(), secret=CONNECT_SECRET)
        post_event(running.url, a_change(livemode=True))
        post_event(running.url, a_change(), secret="whsec_wrong")
        page, found = read()
    assert {labels: count for labels, count in found.items() if count != "0.0"} == {
        'outcome="stored",secret="main"': "12.0",
        'outcome="stored",secret="connect"': "1.0",
        'outcome="ignored",secret="main"': "1.0",
        'outcome="bad_signature",secret=""': "1.0",
    }
    assert 'outcome="unavailable",secret="connect"' in found
    assert before == dict.fromkeys(found, "0.0"), "an alert on growth misses what begins with one"
    assert "trueup_inbox_batch_rows_sum 14.0" in page
    assert 'trueup_webhook_seconds_count{outcome="accepted"} 14.0' in page
    assert "trueup_webhook_ack_age_seconds_count 14.0" in page


def test_what_is_refused_is_on_on_calls_screen_until_stripe_delivers_again(
    receiver: Receiver, settings: Settings
) -> None:
    """Of both processes, without a row: the shared receiver has refused for other tests too."""
    began = datetime.now(UTC)
    with running_services(settings) as services:

        def seen() -> Part:
            return next(each for each in screen(services).parts if each.name == "receiver")

        def refused_lately() -> bool:
            run = seen().facts["refused"].get("bad_signature")
            return run is not None and run["last"] >= began

        assert post_event(receiver.url, a_change(), secret="whsec_rolled").status_code == 400
        eventually(refused_lately)
        found = seen()
        assert (found.well, found.do) == (False, ("trueup doctor",))
        assert re.search(r"refused .*\d+ with a bad signature, .* the last \d+ s ago", found.line)
        eventually(lambda: "2 processes alive" in seen().line)
        assert post_event(receiver.url, a_change()).status_code == 200
        found = seen()
        assert found.well, found
        assert "with a bad signature" in found.line


@pytest.mark.parametrize("missing", ["stripe_api_key", "database_url"])
def test_it_refuses_to_start_without_what_it_needs(
    start_receiver: StartReceiver, missing: str
) -> None:
    with (
        pytest.raises(Exception, match=f"TRUEUP_{missing.upper()}"),
        start_receiver(**{missing: ""}),
    ):
        pass
