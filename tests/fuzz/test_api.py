"""The API and bodies that no host application would send: a problem in words, and no row."""

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from reconcile.tables import audit_trail, members, organizations
from tests.support.api import Client
from tests.support.shop import Shop

DEEP = b'{"id": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"
BODIES = {
    "empty": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "null": b"null",
    "text": b'"x"',
    "deep": DEEP,
    "infinite": b'{"id": 1e999}',
    "no number": b'{"id": NaN}',
    "NUL": b'{"id": "a\\u0000b", "name": "x", "plan": "agency"}',
    "surrogate": b'{"id": "\\ud800", "name": "x", "plan": "agency"}',
    "no text": b'{"id": "\xff\xfe"}',
    "huge": b'{"id": "' + b"x" * 70_000 + b'"}',
    "a path": b'{"id": "../../etc/passwd", "name": "x", "plan": "agency"}',
    "a line break": b'{"id": "a\\nb", "name": "x", "plan": "agency"}',
    "SQL": b'{"id": "\'; drop table members; --", "name": "x", "plan": "agency"}',
    "unknown field": b'{"id": "a", "name": "x", "plan": "agency", "admin": true}',
    "wrong kinds": b'{"id": {"$ne": 1}, "name": [], "plan": 7}',
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("path", ["/organizations", "/organizations/org_1/members"])
def test_an_odd_body_is_a_problem_in_words(api: Client, shop: Shop, name: str, path: str) -> None:
    shop.organization("org_1")
    with shop.services.sessions() as session:
        before = _rows(session)
    answer = api.send("POST", path, body=BODIES[name], headers={"Content-Type": "application/json"})
    assert 400 <= answer.status < 500, answer.text
    assert answer.json["code"]
    assert answer.json["detail"]
    assert not any(word in answer.text for word in ("Traceback", "psycopg", "pydantic", '.py"'))
    with shop.services.sessions() as session:
        assert _rows(session) == before


def _rows(session: Session) -> list[int | None]:
    tables = (organizations, members, audit_trail)
    counted = (select(func.count()).select_from(table) for table in tables)
    return [session.scalar(each) for each in counted]


@pytest.mark.parametrize(
    "path",
    ["%00", "%ff", "x" * 5000, "a%0ab", "..%2f..%2fetc"],
)
def test_an_odd_path_is_not_found_in_words(api: Client, path: str) -> None:
    answer = api.get(f"/organizations/{path}")
    assert answer.status in {400, 404, 422}, answer.text
    assert answer.json["code"]
