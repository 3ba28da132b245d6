"""The frame around every view: the form of requests, the headers and the shape of every answer."""

import gzip
import json
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from backoffice.api.app import create_app
from backoffice.api.form import MAX_BODY_BYTES
from reconcile.budget import Unbudgeted
from reconcile.services import build_services
from tests.support.api import Client
from tests.support.shop import Shop

JSON = {"Content-Type": "application/json"}
NEW = {"id": "org_1", "name": "Harbour", "plan": "agency"}


def sent(api: Client, body: bytes, **headers: str) -> Any:
    """POST these bytes as JSON."""
    return api.send("POST", "/organizations", body=body, headers=JSON | headers)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 422, "invalid"),
        (b"", 422, "invalid"),
        (b"null", 422, "invalid"),
        (b"[]", 422, "invalid"),
        (b'"text"', 422, "invalid"),
        (
            b'"{\\"id\\": \\"org_1\\", \\"name\\": \\"A\\", \\"plan\\": \\"agency\\"}"',
            422,
            "invalid",
        ),
        (b'{"id": "org_1", "name": "a\\u0000b", "plan": "agency"}', 400, "bad_request"),
        (b'{"id": "org_1", "name": "a\\\\u0000b", "plan": "agency"}', 201, None),
        (b'{"id": "org_1", "name": "a\x00b", "plan": "agency"}', 400, "bad_request"),
        (b'{"id": "org_1", "name": "a\xffb", "plan": "agency"}', 400, "bad_request"),
        (b'{"id": "org_1", "name": "a\\ud800b", "plan": "agency"}', 422, "invalid"),
        (b'{"id": "org_1", "name": "a\\nb", "plan": "agency"}', 422, "invalid"),
        (b'{"id": "org_1", "name": "a\\u001b[2Jb", "plan": "agency"}', 422, "invalid"),
        (b'{"id": "org_1", "name": "a\\u009b2Jb", "plan": "agency"}', 422, "invalid"),
        (b'{"id": "org_1", "name": "a\\u2028b", "plan": "agency"}', 422, "invalid"),
        (b'{"id": "../1", "name": "A", "plan": "agency"}', 422, "invalid"),
        (b'{"id": "org_1", "name": "A", "plan": "nosuch"}', 422, "invalid"),
        (b'{"id": 1, "name": "A", "plan": "agency"}', 422, "invalid"),
        (b'{"id": "org_1", "name": "A", "plan": "agency", "trial": "true"}', 422, "invalid"),
        (b'{"id": "org_1", "name": "A", "plan": "agency", "tiral": true}', 422, "invalid"),
        (b"[" * 20_000 + b"]" * 20_000, 422, "invalid"),
        (b'{"id": ' + b"9" * 10_000 + b"}", 422, "invalid"),
    ],
)
def test_what_cannot_be_read_is_refused(
    api: Client, body: bytes, status: int, code: str | None
) -> None:
    answer = sent(api, body)
    assert (answer.status, answer.json.get("code")) == (status, code), answer.text
    if code:
        answer.problem(status, code)


def test_another_type_than_json_is_refused(api: Client) -> None:
    body = json.dumps(NEW).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml", ""):
        answer = api.send("POST", "/organizations", body=body, headers={"Content-Type": kind})
        answer.problem(415, "unsupported_media_type")


def test_nothing_is_decompressed(api: Client) -> None:
    """A small body that grows without end would be past every bound on bodies."""
    small = gzip.compress(json.dumps(NEW).encode())
    for headers in ({}, {"Content-Encoding": "gzip"}):
        sent(api, small, **headers).problem(400, "bad_request")


def test_a_body_over_64_kib_is_refused(api: Client) -> None:
    padding = b" " * MAX_BODY_BYTES
    sent(api, json.dumps(NEW).encode() + padding).problem(413, "request_entity_too_large")
    room = MAX_BODY_BYTES - len(json.dumps(NEW))
    sent(api, json.dumps(NEW).encode() + b" " * room).ok(201)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("DELETE", "/organizations", 405, "method_not_allowed"),
        ("GET", "/organizations/org_%00", 400, "bad_request"),
        ("GET", "/organizations?plan=%00", 400, "bad_request"),
        ("GET", "/organizations?limit=0", 422, "invalid"),
        ("GET", "/organizations?limit=101", 422, "invalid"),
        ("GET", f"/organizations?limit={'9' * 400}", 422, "invalid"),
        ("GET", "/organizations?paln=agency", 422, "invalid"),
        ("GET", "/organizations?cursor=nonsense", 422, "invalid"),
        ("GET", "/organizations?cursor=WzFd", 422, "invalid"),  # [1], of another list
        ("GET", f"/organizations/{'a' * 300}", 422, "invalid"),
    ],
)
def test_flasks_own_errors_are_problems_too(
    api: Client, method: str, path: str, status: int, code: str
) -> None:
    answer = api.send(method, path).problem(status, code)
    assert answer["status"] == status
    assert "<html" not in answer.text.lower()


def test_a_method_that_is_not_there_is_told_which_are(api: Client) -> None:
    allowed = api.send("DELETE", "/organizations").headers["Allow"]
    assert set(allowed.split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


@pytest.mark.parametrize("path", ["/v1/organizations", "/v1/nothing", "/docs", "/healthz"])
def test_every_answer_has_the_security_headers(api: Client, path: str) -> None:
    headers = api.send("GET", path, root="").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy


def test_the_page_loads_only_from_here_and_runs_nothing_inline(api: Client) -> None:
    page = api.send("GET", "/docs", root="").ok()
    assert "https:" not in page.text
    assert "'unsafe-inline'" not in page.headers["Content-Security-Policy"].split("style-src")[0]
    script = api.send("GET", "/docs/start.js", root="").ok()
    assert script.headers["Content-Type"].startswith("text/javascript")
    library = api.send("GET", "/docs/redoc.js", root="").ok()
    assert "export{" in library.text[-200:].replace(" ", "")
    assert "init" in library.text[-200:]


def test_every_answer_has_the_requests_id(api: Client, logs: list[Any]) -> None:
    given = api.send("GET", "/organizations", headers={"X-Request-Id": "abc-1"})
    assert given.headers["X-Request-Id"] == "abc-1"
    strange = api.send("GET", "/organizations", headers={"X-Request-Id": "a b"})
    assert strange.headers["X-Request-Id"].startswith("req_")


def test_one_line_is_logged_for_each_request(api: Client, logs: list[Any]) -> None:
    api.get("/organizations/org_9").problem(404, "not_found")
    (line,) = [one for one in logs if one["event"] == "api"]
    assert line["route"] == "/v1/organizations/<organization_id>"
    assert (line["status"], line["code"]) == (404, "not_found")
    assert (line["method"], line["organization"]) == ("GET", "org_9")
    assert line["token_id"].startswith("tok_")


def test_lists_are_paged_to_the_end(api: Client, shop: Shop) -> None:
    ids = [f"org_{number:02}" for number in range(7)]
    for one in reversed(ids):
        api.post("/organizations", id=one, name=one, plan="agency").ok(201)
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(4):
        page = api.get("/organizations", limit=3, **({"cursor": cursor} if cursor else {})).ok()
        seen += [one["id"] for one in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ids


def test_a_defect_shows_nothing_of_the_inside(
    api: Client, monkeypatch: pytest.MonkeyPatch, logs: list[Any]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret of the inside")

    monkeypatch.setattr("reconcile.store.organizations.page", broken)
    answer = api.get("/organizations").problem(500, "internal_error")
    assert "inside" not in answer.text.replace("wrong inside", "")
    assert "RuntimeError" not in answer.text
    assert "Traceback" not in answer.text


def test_a_database_that_is_away_is_503_and_come_again(api: Client, make_settings: Any) -> None:
    nowhere = {
        "database_url": "postgresql://nobody@127.0.0.1:1/none",
        "redis_url": "redis://127.0.0.1:1",
    }
    away = build_services(make_settings(**nowhere), Unbudgeted())
    lost = Client(token=api.token, app=create_app(away))
    answer = lost.get("/organizations").problem(503, "database_away")
    assert answer.headers["Retry-After"]
    assert "127.0.0.1" not in answer.text
    assert lost.send("GET", "/readyz", root="").status == 503
    away.close()


def test_a_database_that_is_there_is_not_said_to_be_away(
    api: Client, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that asks for too much is told so, and who waits for others is told that."""

    def too_much(session: Session, **_: object) -> None:
        session.execute(text("set local statement_timeout = '20ms'"))
        session.execute(text("select pg_sleep(60)"))

    def in_use(session: Session, **_: object) -> None:
        session.execute(text("set local lock_timeout = '20ms'"))
        session.execute(text("lock table organizations"))

    for read, code, way_out in (
        (too_much, "too_slow", "ask for less"),
        (in_use, "try_again", "send the same request again"),
    ):
        monkeypatch.setattr("reconcile.store.organizations.page", read)
        with shop.services.sessions() as session:
            session.execute(text("lock table organizations in row exclusive mode"))
            answer = api.get("/organizations").problem(503, code)
        assert answer.headers["Retry-After"]
        assert any(each.startswith(way_out) for each in answer["remedies"])
