"""Who comes in: nobody without a token, all failures alike, and not many of them."""

import base64
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import select

from backoffice.api import tokens
from backoffice.api.app import create_app
from backoffice.api.authentication import FAILURES_A_MINUTE, FAILURES_OF_AN_ADDRESS, Failures
from reconcile.settings import Settings
from reconcile.tables import api_tokens
from tests.support.api import Client, a_token, api_of
from tests.support.shop import Shop


def basic(token: str) -> dict[str, str]:
    """The header a browser sends."""
    return {"Authorization": "Basic " + base64.b64encode(f"kim:{token}".encode()).decode()}


def test_all_failures_are_answered_alike(api: Client, shop: Shop) -> None:
    right = a_token(shop.services)
    wrong_secret = right[:-1] + ("0" if right[-1] != "0" else "1")
    unknown_id = f"trueup_{'0' * 16}_{right.rpartition('_')[2]}"
    expired = a_token(shop.services, expires_at=shop.services.clock() - timedelta(seconds=1))
    tries = [None, "", "x", "é" * 20, wrong_secret, unknown_id, expired, right + "x", right.upper()]
    answers = [api.with_token(one).get("/organizations") for one in tries]
    assert {one.status for one in answers} == {401}
    assert len({one.text for one in answers}) == 1
    assert {one.headers["WWW-Authenticate"].split()[0] for one in answers} == {"Bearer"}


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/docs/redoc.js", "/nothing/here"])
def test_the_document_and_what_is_not_there_need_a_token_too(api: Client, path: str) -> None:
    api.with_token(None).send("GET", path, root="").problem(401, "unauthenticated")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_needs_none(api: Client, path: str) -> None:
    assert api.with_token(None).send("GET", path, root="").status == 200


def test_a_browser_may_read_with_the_token_as_its_password_and_not_write(api: Client) -> None:
    """A browser sends it by itself, also for the form of a page that is not ours."""
    assert api.token
    browser = api.with_token(None)
    page = browser.send("GET", "/docs", root="", headers=basic(api.token)).ok()
    assert "<html" in page.text
    browser.send("GET", "/organizations", headers=basic(api.token)).ok()
    new = {"id": "org_1", "name": "A", "plan": "agency"}
    written = browser.send("POST", "/organizations", body=new, headers=basic(api.token))
    written.problem(401, "unauthenticated")


def test_many_failures_are_refused_and_a_right_token_still_comes_in(
    api: Client, shop: Shop
) -> None:
    right = a_token(shop.services)
    wrong = api.with_token(right[:-4] + "0000")
    answers = [wrong.get("/organizations").status for _ in range(FAILURES_A_MINUTE + 3)]
    assert answers == [401] * FAILURES_A_MINUTE + [429] * 3
    assert wrong.get("/organizations").headers["Retry-After"] == "60"
    # Another id from the same address, which may be a proxy's, counts for itself.
    api.with_token(a_token(shop.services)[:-4] + "0000").get("/organizations").problem(
        401, "unauthenticated"
    )
    api.with_token(right).get("/organizations").ok()


def test_who_brings_no_token_has_guessed_nothing(api: Client) -> None:
    """A browser asks so first, and asks for the password only when it is told to."""
    asked = api.with_token(None)
    answers = [asked.get("/organizations") for _ in range(FAILURES_OF_AN_ADDRESS + 3)]
    assert {(each.status, "WWW-Authenticate" in each.headers) for each in answers} == {(401, True)}
    api.with_token(invented(0)).get("/organizations").problem(401, "unauthenticated")


def invented(number: int) -> str:
    return f"trueup_{number:016x}_{number:064x}"


def statuses(api: Client, tokens_tried: Iterable[str], **headers: str) -> list[int]:
    found = []
    for number, token in enumerate(tokens_tried):
        named = {name: value.format(number) for name, value in headers.items()}
        found.append(api.with_token(token).send("GET", "/organizations", headers=named).status)
    return found


def test_whoever_invents_ids_is_refused_and_a_right_token_still_comes_in(api: Client) -> None:
    """Each guess has an id of its own; an address that a client writes itself is not believed."""
    guesses = (invented(number) for number in range(FAILURES_OF_AN_ADDRESS + 3))
    answers = statuses(api, guesses, **{"X-Forwarded-For": "10.0.0.{}", "X-Real-IP": "10.1.0.{}"})
    assert answers == [401] * FAILURES_OF_AN_ADDRESS + [429] * 3
    assert api.token
    api.get("/organizations").ok()


def test_guesses_leave_a_bounded_trace(settings: Settings, redis_client: Redis) -> None:
    """One key for an address, and those of its first guesses; each is gone after its minute."""
    failures = Failures(settings)
    for number in range(FAILURES_OF_AN_ADDRESS * 3):
        failures.count("192.0.2.1", f"tok_{number}")
    keys = list(redis_client.scan_iter("*trueup:api*", count=1000))
    assert len(keys) == 1 + FAILURES_OF_AN_ADDRESS
    assert all(0 < int(redis_client.ttl(key)) <= 60 for key in keys)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:0:0:9", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
    ],
)
def test_an_address_of_ipv6_counts_with_its_network(
    settings: Settings, first: str, second: str, same: bool
) -> None:
    """Whoever has one has as many of the same network as there are."""
    failures = Failures(settings)
    for number in range(FAILURES_OF_AN_ADDRESS):
        assert not failures.count(first, f"tok_{number}")
    assert failures.count(second, "tok_x") is same


@pytest.mark.parametrize("guess", [lambda _: "x", invented])
def test_failures_are_counted_without_the_queue_as_well(
    shop: Shop, settings: Settings, make_settings: Any, guess: Callable[[int], str]
) -> None:
    most = FAILURES_OF_AN_ADDRESS if guess is invented else FAILURES_A_MINUTE
    away = make_settings(database_url=settings.database_url, redis_url="redis://127.0.0.1:1/0")
    client = api_of(replace(shop.services, settings=away))
    answers = statuses(client, (guess(number) for number in range(most + 1)))
    assert answers == [401] * most + [429]


def test_the_last_use_is_noted_at_most_once_a_minute(api: Client, shop: Shop) -> None:
    def used() -> datetime | None:
        with shop.services.sessions() as session:
            found: datetime | None = session.scalar(select(api_tokens.c.last_used_at))
            return found

    start = shop.services.clock()
    assert used() is None
    for seconds, noted in ((0, 0), (59, 0), (60, 60), (119, 60)):
        later = api_of_same(api, shop.at(start + timedelta(seconds=seconds)))
        later.get("/organizations").ok()
        assert used() == start + timedelta(seconds=noted)


def api_of_same(api: Client, shop: Shop) -> Client:
    """The API at another time, with the same token."""
    assert api.token
    return Client(token=api.token, app=create_app(shop.services))


def test_a_secret_is_256_bits_and_its_digest_is_sha_256_of_it() -> None:
    made = tokens.make()
    secret = made.text.rpartition("_")[2]
    assert len(bytes.fromhex(secret)) == 32
    assert made.digest == hashlib.sha256(secret.encode()).hexdigest()
    assert tokens.make().text != made.text
    read = tokens.read(made.text)
    assert read is not None
    assert read.matches(made.digest)
    assert not read.matches(tokens.NO_DIGEST)
    assert secret not in repr(read)


def test_no_secret_is_logged(api: Client, shop: Shop, logs: list[Any]) -> None:
    right = a_token(shop.services)
    api.with_token(right).get("/organizations").ok()
    api.with_token(right[:-4] + "0000").get("/organizations")
    assert right.split("_")[2][:60] not in str(logs)
    assert f"tok_{right.split('_')[1]}" in str(logs)
