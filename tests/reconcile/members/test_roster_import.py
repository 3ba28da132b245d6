"""Imports are all-or-nothing, name every wrong line, and change nothing the second time."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, sessionmaker

from reconcile.catalog import load_catalog
from reconcile.members.roster_import import MOST_ERRORS, Imported, ImportRefused, import_files
from reconcile.store import audit
from reconcile.tables import auto_add, events, members, organizations

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

ORGANIZATIONS = "id,name,plan,stripe_customer_id,trial\n"
MEMBERS = "organization_id,id,role,seat_type,status,email\n"
ACME = ORGANIZATIONS + "acme,Acme,agency,cus_1,\n"
TWO_MEMBERS = MEMBERS + "acme,ann,admin,base,active,ann@acme.test\nacme,bob,member,voice,invited,\n"

Import = Callable[..., Imported]


@pytest.fixture
def imported(sessions: sessionmaker[Session], tmp_path: Path) -> Import:
    """Imports texts as files: `imported(first, second, replace=True)`."""
    catalog = load_catalog(ROOT / "catalog.example.toml")

    def run(*contents: str | bytes, kind: str | None = None, replace: bool = False) -> Imported:
        paths = [tmp_path / f"{number}.txt" for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return import_files(sessions, catalog, paths, now=NOW, kind=kind, replace=replace)

    return run


def refused(run: Import, *contents: str | bytes, **how: bool | str) -> list[str]:
    """The wrong lines, as `file:line: what`."""
    with pytest.raises(ImportRefused) as caught:
        run(*contents, **how)
    return [f"{e.path.stem}:{e.line}: {e.message}" for e in caught.value.errors]


def statuses(sessions: sessionmaker[Session]) -> dict[str, str]:
    with sessions() as session:
        rows = session.execute(select(members.c.id, members.c.status))
        return {row.id: row.status for row in rows}


def test_organizations_and_members_in_one_go(
    imported: Import, sessions: sessionmaker[Session]
) -> None:
    done = imported(TWO_MEMBERS, ACME)  # in any order
    assert (done.organizations.added, done.members.added, done.requests) == (1, 2, 1)
    with sessions() as session:
        organization = session.execute(select(organizations)).one()
        assert (organization.name, organization.plan) == ("Acme", "agency")
        assert (organization.stripe_customer_id, organization.trial) == ("cus_1", False)
        request = session.execute(select(events)).one()
        assert (request.type, request.work_key) == ("trueup.roster.changed", "org:acme")
        assert (request.source, request.kind, request.state) == ("request", "request", "pending")
        assert (request.due_at, request.organization_id) == (NOW, "acme")
        assert json.loads(request.payload) == {"organization": "acme"}
    assert statuses(sessions) == {"ann": "active", "bob": "invited"}


def test_the_same_files_again_change_nothing(
    imported: Import, sessions: sessionmaker[Session]
) -> None:
    imported(ACME, TWO_MEMBERS)
    again = imported(ACME, TWO_MEMBERS)
    assert (again.organizations.unchanged, again.members.unchanged) == (1, 2)
    assert (again.organizations.changed, again.members.changed, again.requests) == (0, 0, 0)
    with sessions() as session:
        assert session.scalar(text("select count(*) from events")) == 1


def test_only_what_differs_is_changed_and_asks_for_work(
    imported: Import, sessions: sessionmaker[Session]
) -> None:
    other = "globex,Globex,agency,cus_2,\n"
    imported(ACME + other, TWO_MEMBERS)
    done = imported(ACME + other, TWO_MEMBERS.replace("invited", "active"))
    assert (done.members.changed, done.members.unchanged, done.requests) == (1, 1, 1)
    assert statuses(sessions)["bob"] == "active"


def test_json_lines_may_mix_the_kinds(imported: Import, sessions: sessionmaker[Session]) -> None:
    rows = [
        {
            "id": "acme",
            "name": "Äcme, Inc.",
            "plan": "agency",
            "stripe_customer_id": None,
            "trial": True,
        },
        {
            "organization_id": "acme",
            "id": 7,
            "role": "member",
            "seat_type": "voice",
            "status": "active",
        },
        {"organization_id": "acme", "seat_type": "voice", "enabled": True, "ceiling_quantity": 12},
    ]
    done = imported("\n".join(json.dumps(row) for row in rows))
    assert (done.organizations.added, done.members.added, done.auto_add.added) == (1, 1, 1)
    with sessions() as session:
        assert session.execute(select(organizations.c.name)).scalar_one() == "Äcme, Inc."
        setting = session.execute(select(auto_add)).one()
        assert (setting.enabled, setting.ceiling_quantity, setting.ceiling_minor) == (
            True,
            12,
            None,
        )
    assert statuses(sessions) == {"7": "active"}


def test_spreadsheets_write_a_bom_semicolons_and_quotes(
    imported: Import, sessions: sessionmaker[Session]
) -> None:
    sheet = '"id";"name";"plan";"stripe_customer_id"\r\n"acme";"A ""B""; C";"agency";""\r\n'
    assert imported(b"\xef\xbb\xbf" + sheet.encode()).organizations.added == 1
    with sessions() as session:
        found = session.execute(select(organizations)).one()
        assert (found.name, found.stripe_customer_id) == ('A "B"; C', None)


def test_a_file_without_customers_does_not_cut_the_tie_to_stripe(
    imported: Import, sessions: sessionmaker[Session]
) -> None:
    imported(ACME)
    done = imported(ACME.replace("cus_1", ""))
    assert done.organizations.unchanged == 1
    with sessions() as session:
        assert session.execute(select(organizations.c.stripe_customer_id)).scalar_one() == "cus_1"


GIVEN: list[dict[str, object]] = [
    {
        "id": "acme",
        "name": "Acme",
        "plan": "agency",
        "stripe_customer_id": "cus_1",
        "trial": True,
    },
    {
        "organization_id": "acme",
        "id": "ann",
        "role": "admin",
        "seat_type": "base",
        "status": "active",
        "email": "ann@acme.test",
    },
    {
        "organization_id": "acme",
        "seat_type": "voice",
        "enabled": True,
        "ceiling_quantity": 12,
        "ceiling_minor": 90_000,
    },
]
OPTIONAL = ("trial", "email", "ceiling_quantity", "ceiling_minor")


def lines(rows: list[dict[str, object]]) -> str:
    return "\n".join(json.dumps(row) for row in rows)


def optional_values(sessions: sessionmaker[Session]) -> tuple[object, ...]:
    with sessions() as session:
        return tuple(
            session.execute(select(column)).scalar_one()
            for column in (
                organizations.c.trial,
                members.c.email,
                auto_add.c.ceiling_quantity,
                auto_add.c.ceiling_minor,
            )
        )


def test_what_a_file_lacks_stays_as_it_is(
    imported: Import, sessions: sessionmaker[Session]
) -> None:
    """The README's own columns name no trial: importing them weekly must not end every trial."""
    imported(lines(GIVEN))
    without = [
        "id,name,plan,stripe_customer_id\nacme,{},agency,cus_1\n",
        "organization_id,id,role,seat_type,status\nacme,ann,admin,{},active\n",
        "organization_id,seat_type,enabled\nacme,voice,{}\n",
    ]
    same = [each.format(v) for each, v in zip(without, ("Acme", "base", "yes"), strict=True)]
    assert not imported(*same).changed_something
    other = [each.format(v) for each, v in zip(without, ("Ajax", "voice", "no"), strict=True)]
    done = imported(*other)
    assert (done.organizations.changed, done.members.changed, done.auto_add.changed) == (1, 1, 1)
    assert optional_values(sessions) == (True, "ann@acme.test", 12, 90_000)


def test_each_line_of_json_says_for_itself_what_it_lacks(
    imported: Import, sessions: sessionmaker[Session]
) -> None:
    imported(lines(GIVEN))
    bare = [{key: row[key] for key in row if key not in OPTIONAL} for row in GIVEN]
    assert not imported(lines(bare)).changed_something
    imported(lines([*bare[:2], bare[2] | {"ceiling_minor": 80_000}]))
    assert optional_values(sessions) == (True, "ann@acme.test", 12, 80_000)
    bob: dict[str, object] = GIVEN[1] | {"id": "bob", "email": "bob@acme.test"}
    done = imported(lines([*bare[:2], bob]))
    assert (done.members.added, done.members.unchanged) == (1, 1)


def test_what_a_file_leaves_empty_is_taken_away(
    imported: Import, sessions: sessionmaker[Session]
) -> None:
    imported(lines(GIVEN))
    empty = [{key: None if key in OPTIONAL else row[key] for key in row} for row in GIVEN]
    done = imported(lines(empty))
    assert (done.organizations.changed, done.members.changed, done.auto_add.changed) == (1, 1, 1)
    assert optional_values(sessions) == (False, None, None, None)


def test_replace_removes_who_is_not_named_and_only_where_the_file_knows(
    imported: Import, sessions: sessionmaker[Session]
) -> None:
    other = "globex,Globex,agency,,\n"
    imported(ACME + other, TWO_MEMBERS + "globex,cat,member,voice,active,\n")
    done = imported(MEMBERS + "acme,ann,admin,base,active,ann@acme.test\n", replace=True)
    assert (done.members.removed, done.members.unchanged, done.requests) == (1, 1, 1)
    assert statuses(sessions) == {"ann": "active", "bob": "removed", "cat": "active"}
    again = imported(MEMBERS + "acme,ann,admin,base,active,ann@acme.test\n", replace=True)
    assert (again.members.removed, again.requests) == (0, 0)


WRONG_ROWS = [
    ("acme,ann,admin,base,sleeping,\n", "status sleeping is none of invited, pending,"),
    ("acme,ann,boss,base,active,\n", "member ann: the plan agency has no role boss"),
    ("acme,ann,member,pro,active,\n", "gives the role member the seat types base, voice, not pro"),
    ("acme,ann,member,,active,\n", "gives the role member the seat types base, voice, not none"),
    ("nobody,ann,member,base,active,\n", "the organization nobody is not known"),
    ("acme,,member,base,active,\n", "id is empty"),
    ("acme,a\0b,member,base,active,\n", "id has a control character or a line break"),
    ("acme,a\x1b[2Jb,member,base,active,\n", "id has a control character or a line break"),
    ("acme,a\x9b2Jb,member,base,active,\n", "id has a control character or a line break"),
    ("acme,a\u2028b,member,base,active,\n", "id has a control character or a line break"),
    ('acme,"a\nb",member,base,active,\n', "id has a control character or a line break"),
    (f"acme,{'x' * 201},member,base,active,\n", "id is longer than 200 characters"),
    (f"acme,ann,member,base,active,{'x' * 1001}\n", "email is longer than 1000 characters"),
    (f"acme,ann,member,base,active,{'x' * 200_000}\n", "is not CSV: field larger"),
    ("acme,ann,member,base\n", "has 4 fields, the header has 6"),
    ('acme,"ann,member,base,active,\n', "is not CSV: unexpected end of data"),
]


@pytest.mark.parametrize(("row", "said"), WRONG_ROWS)
def test_a_wrong_row_is_named_by_its_line_and_nothing_is_imported(
    row: str, said: str, imported: Import, sessions: sessionmaker[Session]
) -> None:
    good = "acme,zoe,member,voice,active,\n"
    (error,) = refused(imported, ACME, MEMBERS + good + row)
    assert error.startswith("1:3: ")
    assert said in error
    with sessions() as session:
        for table in (organizations, members, events):
            assert session.scalar(select(func.count()).select_from(table)) == 0


def test_bytes_that_are_no_utf8(imported: Import) -> None:
    row = b"acme,ann,member,base,active,\n"
    wrong = MEMBERS.encode() + row + row.replace(b"ann", b"\xe4nn")
    assert refused(imported, ACME, wrong) == ["1:3: id is not UTF-8"]
    assert refused(imported, ACME.encode("utf-16")) == ["0:0: is UTF-16: save it as UTF-8"]


def test_a_row_given_twice_names_both_lines(imported: Import) -> None:
    assert refused(imported, ACME + "acme,Acme again,agency,cus_9,\n") == [
        "0:3: acme was given before, on line 2"
    ]
    assert refused(imported, ACME, TWO_MEMBERS + "acme,ann,member,voice,active,\n") == [
        "1:4: acme/ann was given before, on line 2"
    ]


def test_an_unknown_plan_lists_those_there_are(imported: Import) -> None:
    (error,) = refused(imported, ACME.replace("agency", "agancy"))
    assert error.startswith("0:2: plan agancy is not in the catalog: ")
    assert "commerce_growth" in error


def test_two_organizations_cannot_pay_as_one_customer(imported: Import) -> None:
    twin = "globex,Globex,agency,cus_1,\n"
    said = "the Stripe customer cus_1 already pays for acme"
    assert refused(imported, ACME + twin) == [f"0:3: {said}"]
    imported(ACME)
    assert refused(imported, ORGANIZATIONS + twin) == [f"0:2: {said}"]


def test_a_plan_that_changes_under_its_members_is_refused(imported: Import) -> None:
    imported(ACME, TWO_MEMBERS)
    growth = "the plan commerce_growth"
    errors = refused(imported, ACME.replace("agency", "commerce_growth"))
    assert sorted(errors) == [
        f"0:2: member ann: {growth} gives the role admin the seat types admin, not base",
        f"0:2: member bob: {growth} has no role member",
    ]


def test_an_owner_takes_no_seat(imported: Import) -> None:
    shop = ACME.replace("agency", "commerce_growth")
    (error,) = refused(imported, shop, MEMBERS + "acme,olga,owner,admin,active,\n")
    assert error.endswith("the plan commerce_growth gives the role owner no seat, not admin")
    assert imported(shop, MEMBERS + "acme,olga,owner,,active,\n").members.added == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "0:0: is empty"),
        ("[{}]", "0:0: is a JSON array: expected one object a line"),
        ('{"id": }', "0:1: is not JSON: "),
        ("id,name\nacme,Acme\n", "0:1: the header is none of organizations, members, auto_add"),
        (ACME.replace("trial", "tril"), "0:1: the header has 'tril', which organizations have not"),
        (ACME.replace(",trial", ",plan"), "0:1: the header names plan twice"),
        (
            '{"id":"a","name":"A","plan":"agency","stripe_customer_id":1.5}',
            "0:1: stripe_customer_id must be a text",
        ),
        (ACME.replace("cus_1,", "cus_1,maybe"), "0:2: trial is neither true nor false"),
        (
            '{"organization_id":"acme","seat_type":"voice","enabled":true,"ceiling_minor":-1}',
            "0:1: ceiling_minor is not a whole number",
        ),
        (
            '{"organization_id":"a","seat_type":"s","enabled":true,"ceiling_quantity":2147483648}',
            "0:1: ceiling_quantity is larger than 2147483647",
        ),
    ],
)
def test_files_that_hold_something_else(content: str, said: str, imported: Import) -> None:
    (error,) = refused(imported, content)
    assert error.startswith(said)


def test_a_kind_can_be_told(imported: Import) -> None:
    assert imported(ACME, kind="organizations").organizations.added == 1
    (error,) = refused(imported, ACME, kind="members")
    assert error.startswith("0:1: the header lacks ")


def test_a_missing_file(sessions: sessionmaker[Session]) -> None:
    catalog = load_catalog(ROOT / "catalog.example.toml")
    with pytest.raises(ImportRefused) as caught:
        import_files(sessions, catalog, [Path("not-there.csv")], now=NOW)
    assert [str(error) for error in caught.value.errors] == [
        "not-there.csv: No such file or directory"
    ]


def test_fifty_wrong_lines_are_enough(imported: Import) -> None:
    many = MEMBERS + "".join(f"acme,m{n},member,voice,gone,\n" for n in range(500))
    assert len(refused(imported, ACME, many)) == MOST_ERRORS
    unknown = MEMBERS + "".join(f"acme,m{n},member,pro,active,\n" for n in range(500))
    errors = refused(imported, ACME, unknown)
    assert len(errors) == MOST_ERRORS
    assert errors[0].startswith("1:2: ")


def test_auto_add_of_a_seat_type_the_plan_has_not(imported: Import) -> None:
    setting = "organization_id,seat_type,enabled\nacme,pro,true\n"
    assert refused(imported, ACME, setting) == [
        "1:2: the plan agency does not have the seat type pro"
    ]


def test_a_large_file_comes_in_batches(imported: Import, sessions: sessionmaker[Session]) -> None:
    rows = "".join(f"acme,m{n},member,voice,active,\n" for n in range(12_345))
    assert imported(ACME, MEMBERS + rows).members.added == 12_345
    with sessions() as session:
        assert session.scalar(text("select count(*) from members")) == 12_345
        assert session.scalar(text("select count(*) from events")) == 1


def test_an_import_that_changed_something_is_audited_once(
    imported: Import, sessions: sessionmaker[Session]
) -> None:
    """Who brought how many rows from which files; the same files again are no entry."""
    for _ in range(2):
        imported(ACME, MEMBERS + "acme,ann,member,voice,active,\n")
    with sessions() as session:
        (entry,) = audit.page(session)
    assert (entry.action, entry.actor) == ("roster.imported", "trueup")
    assert entry.after is not None
    assert entry.after["members"]["added"] == 1
