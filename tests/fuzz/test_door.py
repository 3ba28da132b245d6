"""The public door over real sockets: odd bodies, odd requests, slow clients."""

import hashlib
import hmac
import json
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from random import Random
from urllib.parse import urlsplit

import pytest
import requests
from sqlalchemy import Engine, text

from tests.support.stripe_events import snapshot, subscription
from tests.support.webhooks import SECRET, post_event
from tests.webhooks.conftest import Receiver

SLOW_CLIENTS = 60
TELLING = (b"Traceback", b'File "', b"psycopg", b"sqlalchemy", b"line ")


def signed(body: bytes) -> dict[str, str]:
    """Headers of any bytes, also of such that no SDK would sign."""
    at = int(time.time())
    mac = hmac.new(SECRET.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={at},v1={mac}"}


def sent(receiver: Receiver, body: bytes) -> requests.Response:
    url = f"{receiver.url}/webhooks/stripe"
    answer = requests.post(url, data=body, headers=signed(body), timeout=10)
    assert not any(word in answer.content for word in TELLING), answer.content
    return answer


def an_event(**fields: object) -> bytes:
    return json.dumps(snapshot("customer.subscription.updated", subscription()) | fields).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 9000 + b"]" * 9000,
        b'{"a":' * 3000 + b"1" + b"}" * 3000,
        an_event(created=10**300),
        b'{"id": "evt_1", "created": 1e999}',
        b'{"id": "evt_1", "data": {"object": {"id": "\\ud800"}}}',
        b'{"id": "evt_1", "id": "evt_2", "type": "customer.updated", "livemode": false}',
        b'{"id": "evt_1", "data": NaN}',
        b"\xef\xbb\xbf" + an_event(),
        an_event() + b"\x00",
        b" " * 19_999,
    ],
    ids=[
        *("deep list", "deep object", "huge number", "infinite number", "lone surrogate"),
        *("twice the same key", "not a number", "byte order mark", "NUL", "blank"),
    ],
)
def test_signed_and_odd_is_put_away_whole_once(
    receiver: Receiver, engine: Engine, body: bytes
) -> None:
    """on_call.nothing_vanishes: byte for byte, under one id however often it comes."""
    assert [sent(receiver, body).status_code for _ in range(2)] == [200, 200]
    with engine.connect() as connection:
        (row,) = connection.execute(text("select state, reason, payload, deliveries from events"))
    assert (bytes(row.payload), row.deliveries) == (body, 2)
    assert row.state == "pending" or row.reason


@pytest.mark.parametrize("body", [b"\xff\xfe{}", b'{"id": "evt_\xff"}', b"\x80" * 100])
def test_signed_bytes_that_are_no_text_leave_no_half(
    receiver: Receiver, count_events: Callable[[], int], body: bytes
) -> None:
    answer = sent(receiver, body)
    assert answer.status_code in {200, 400}
    assert count_events() == (answer.status_code == 200)


def test_no_random_signature_opens(receiver: Receiver, count_events: Callable[[], int]) -> None:
    random, body = Random(7), an_event()
    right = signed(body)["Stripe-Signature"]
    for _ in range(150):
        wrong = list(right)
        for _ in range(random.randint(1, 4)):
            at = random.randrange(len(wrong))
            wrong[at] = random.choice("0123456789abcdef,=tv")
        header = "".join(wrong)
        answer = requests.post(
            f"{receiver.url}/webhooks/stripe",
            data=body,
            headers={"Stripe-Signature": header},
            timeout=10,
        )
        assert answer.status_code == (200 if header == right else 400), header
    assert count_events() <= 1


def raw(receiver: Receiver, request: bytes) -> bytes:
    """What is answered to bytes that no client library would send; empty when it hangs up."""
    where = urlsplit(receiver.url)
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=5) as client:
        answer = b""
        # It may hang up at any byte, also before the last one was sent.
        with suppress(OSError):
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            while part := client.recv(65536):
                answer += part
    return answer


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}",
        b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n{}",
        (
            b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
            b"Content-Length: 3\r\n\r\n{}"
        ),
        b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{}",
        b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
        (
            b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nStripe-Signature: \x80\xff\r\n"
            b"Content-Length: 2\r\n\r\n{}"
        ),
        b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
    ids=[
        *("negative length", "length no number", "two lengths", "cut body", "bad chunk"),
        *("header no text", "giant header", "TLS", "path upwards", "no HTTP"),
    ],
)
def test_what_is_hardly_http_tells_nothing_and_stores_nothing(
    receiver: Receiver, count_events: Callable[[], int], request_: bytes
) -> None:
    answer = raw(receiver, request_)
    assert b" 200 " not in answer[:20]
    assert not any(word in answer for word in TELLING[:4]), answer
    assert count_events() == 0
    assert requests.get(f"{receiver.url}/healthz", timeout=30).ok


def test_slow_clients_do_not_keep_stripe_out(receiver: Receiver) -> None:
    """They hold a connection and send a byte of the body now and then."""
    where = urlsplit(receiver.url)
    head = b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    with ExitStack() as stack:
        clients = [
            stack.enter_context(
                socket.create_connection((where.hostname or "", where.port or 0), timeout=30)
            )
            for _ in range(SLOW_CLIENTS)
        ]
        for client in clients:
            client.sendall(head)
        for _ in range(10):
            for client in clients:
                client.sendall(b"{")
            began_at = time.monotonic()
            event = json.loads(an_event())
            assert post_event(receiver.url, event, timeout_s=30).status_code == 200
            assert time.monotonic() - began_at < 30
