"""Files that people make: catalogs and rosters, cut, mangled, swollen and in no encoding."""

import tomllib
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from reconcile.catalog import Catalog, CatalogError, load_catalog, parse_catalog
from reconcile.members.roster_import import ImportRefused, import_files
from reconcile.tables import audit_trail, auto_add, events, members, organizations
from tests.conftest import ROOT

EXAMPLE = (ROOT / "catalog.example.toml").read_text(encoding="utf-8")
LINES = EXAMPLE.splitlines()
VALUES = st.sampled_from(
    [
        *("-1", "0", "9" * 40, "1e999", "nan", "true", "1979-05-27"),
        *('""', '"x"', "[]", "{}", '["voice"]', "[[]]", '"\\u0000"'),
        *('"' + "y" * 3000 + '"', "[" * 200 + "]" * 200),
    ]
)


@given(data=st.data())
def test_a_mangled_catalog_is_read_or_refused_in_words(data: st.DataObject) -> None:
    """Lines lost, doubled, swapped, and values of every other kind."""
    lines = list(LINES)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["lose", "double", "value", "cut"])):
            case "lose":
                del lines[at]
            case "double":
                lines.insert(at, lines[at])
            case "value":
                key = lines[at].partition("=")[0] or "key"
                lines[at] = f"{key}= {data.draw(VALUES)}"
            case "cut":
                lines[at] = lines[at][: len(lines[at]) // 2]
    with suppress(CatalogError):
        assert isinstance(parse_catalog("\n".join(lines)), Catalog)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00plans",
        b"\x00" * 1000,
        b"[plans.x]\n" * 2,
        b"a = " + b"[" * 5000 + b"]" * 5000,
        b'plans = "x"',
        b"[[plans]]\nlabel = 1",
        EXAMPLE.encode("utf-16"),
        EXAMPLE.encode() + b"\n\x80",
    ],
    ids=["no text", "NULs", "twice", "deep", "no table", "a list", "UTF-16", "a stray byte"],
)
def test_a_file_that_is_no_catalog_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "catalog.toml"
    path.write_bytes(content)
    with pytest.raises(CatalogError) as refused:
        load_catalog(path)
    assert refused.value.detail


def test_the_example_is_toml_before_it_is_mangled() -> None:
    assert tomllib.loads(EXAMPLE)


CSV = (
    "organization_id,id,role,seat_type,status,email\n"
    + "".join(f"acme,m{n},member,voice,active,m{n}@acme.test\n" for n in range(20))
).encode()
ORGANIZATIONS = b"id,name,plan,stripe_customer_id,trial\nacme,Acme,agency,cus_1,\n"


def rows(sessions: sessionmaker[Session]) -> list[int | None]:
    tables = (organizations, members, auto_add, events, audit_trail)
    with sessions() as session:
        return [session.scalar(select(func.count()).select_from(table)) for table in tables]


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_a_mangled_roster_is_imported_whole_or_not_at_all(
    sessions: sessionmaker[Session], tmp_path: Path, seed: int
) -> None:
    """Bytes turned, cut and put in; nothing is stored half."""
    random, content = Random(seed), bytearray(CSV)
    for _ in range(random.randint(1, 5)):
        at = random.randrange(len(content))
        match random.choice(("turn", "cut", "put in")):
            case "turn":
                content[at] = random.randrange(256)
            case "cut":
                del content[at : at + random.randint(1, 40)]
            case "put in":
                odd = random.choice((b'"', b"\0", b"\xff", b",,,", b"\n\n", b"x" * 70_000))
                content[at:at] = odd
    files = [tmp_path / "organizations.csv", tmp_path / "members.csv"]
    files[0].write_bytes(ORGANIZATIONS)
    files[1].write_bytes(content)
    before = rows(sessions)
    catalog = load_catalog(ROOT / "catalog.example.toml")
    with suppress(ImportRefused):
        import_files(sessions, catalog, files, now=datetime(2026, 3, 1, tzinfo=UTC))
        return
    assert rows(sessions) == before


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 3000,
        b'{"kind": "member", "id": ' + b'{"a":' * 3000,
        b'{"kind": "member", "id": 1e400}',
        b'{"kind": "member", "id": "\\u0000"}',
        b'{"kind": "member", "id": "\\ud800"}',
        b"\x00\x00\x00",
        b"{" * 100_000,
        ("x" * 3_000_000).encode(),
    ],
    ids=["deep", "deeper", "infinite", "NUL", "surrogate", "NULs", "open", "one giant line"],
)
def test_a_file_that_is_no_roster_is_refused_in_words(
    sessions: sessionmaker[Session], tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "members.jsonl"
    path.write_bytes(content)
    catalog = load_catalog(ROOT / "catalog.example.toml")
    with pytest.raises(ImportRefused) as refused:
        import_files(sessions, catalog, [path], now=datetime(2026, 3, 1, tzinfo=UTC))
    assert all(error.message for error in refused.value.errors)
    assert rows(sessions) == [0] * 5
