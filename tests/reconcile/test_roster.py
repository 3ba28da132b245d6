"""Who counts: only active members, none whose role takes no seat, and never a guess."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from reconcile.catalog import load_catalog
from reconcile.database import build_engine
from reconcile.errors import ErrorClass, classify
from reconcile.roster import Roster, RosterUnreadable, build_roster
from reconcile.settings import Settings
from reconcile.store import roster_view
from tests.support.host_view import HostView
from tests.support.roster import add_members, add_organization

ROOT = Path(__file__).parent.parent.parent
MakeRoster = Callable[..., Roster]


@pytest.fixture
def make_roster(make_settings: Callable[..., Settings]) -> Iterator[MakeRoster]:
    catalog = load_catalog(ROOT / "catalog.example.toml")
    with ExitStack() as stack:

        def make(**settings: str) -> Roster:
            roster = build_roster(make_settings(**settings), catalog)
            stack.callback(roster.close)
            return roster

        yield make


@pytest.fixture
def session(sessions: sessionmaker[Session]) -> Iterator[Session]:
    with sessions.begin() as opened:
        yield opened


@pytest.fixture
def host(blank_database_url: str) -> Iterator[HostView]:
    built = build_engine(blank_database_url)
    yield HostView(blank_database_url, built)
    built.dispose()


def test_only_active_members_count(session: Session, make_roster: MakeRoster) -> None:
    """B12."""
    add_organization(session, "org_1", plan="agency")
    add_members(session, "org_1", "voice", active=3, invited=2, pending=1, blocked=4, removed=5)
    add_members(session, "org_1", "base", active=1)
    counts = make_roster().counts(session, "org_1")
    assert counts.by_seat_type == {"base": 1, "voice": 3}
    assert counts.of("voice") == 3


def test_an_owner_takes_no_seat_whatever_the_row_says(
    session: Session, make_roster: MakeRoster
) -> None:
    """C2."""
    add_organization(session, "org_1", plan="commerce_growth")
    add_members(session, "org_1", "admin", role="owner", active=1)
    add_members(session, "org_1", "admin", role="admin", active=2)
    counts = make_roster().counts(session, "org_1")
    assert counts.by_seat_type == {"admin": 2, "sales_rep": 0}


def test_a_seat_type_the_plan_has_not_stops_everything(
    session: Session, make_roster: MakeRoster
) -> None:
    add_organization(session, "org_1", plan="agency")
    add_members(session, "org_1", "pro", active=1)
    counts = make_roster().counts(session, "org_1")
    assert counts.by_seat_type is None
    assert counts.of("voice") is None
    assert counts.problem == (
        "active members of org_1 hold pro, which the plan agency does not have"
    )


def test_an_unknown_organization_is_a_problem_and_no_zero(
    session: Session, make_roster: MakeRoster
) -> None:
    counts = make_roster().counts(session, "org_1")
    assert counts.by_seat_type is None
    assert counts.problem == "no organization org_1 imported"


PER_MEMBER = """
    create view host_seats as select * from (values
        ('org_1', 'voice', true), ('org_1', 'voice', true), ('org_1', 'voice', false),
        ('org_1', 'base', false), ('org_2', 'base', true), ('org_1', null, true)
    ) as v (organization_id, seat_type, active)"""
PER_SEAT_TYPE = """
    create view host_seats as select * from (values ('org_1', 'voice', 2::bigint),
        ('org_1', 'base', 0), ('org_2', 'base', 1)) as v (organization_id, seat_type, active)"""


@pytest.mark.parametrize("view", [PER_MEMBER, PER_SEAT_TYPE])
def test_the_hosts_view_may_have_a_row_per_member_or_per_seat_type(
    view: str,
    session: Session,
    make_roster: MakeRoster,
    host: HostView,
) -> None:
    host.has(view)
    add_organization(session, "org_1", plan="agency")
    add_members(session, "org_1", "voice", active=9)  # the view is the truth, not these
    roster = make_roster(roster_view="public.host_seats", roster_database_url=host.url)
    roster.check(session)
    assert roster.counts(session, "org_1").by_seat_type == {"base": 0, "voice": 2}


def test_one_count_that_no_quantity_can_be_is_one_organizations_trouble(
    session: Session, make_roster: MakeRoster, host: HostView
) -> None:
    """Two of them would not even add up to a bigint; the others are read all the same."""
    host.has(
        "create view host_seats as select * from (values ('org_1', 'voice', 3::bigint), "
        "('org_2', 'voice', 9223372036854775807), ('org_2', 'voice', 9223372036854775807)) "
        "as v (organization_id, seat_type, active)"
    )
    roster = make_roster(roster_view="host_seats", roster_database_url=host.url)
    found = {each.organization_id: each for each in roster.all_counts(session)}
    assert (found["org_1"].active, found["org_1"].sound) == (3, True)
    assert (found["org_2"].active, found["org_2"].sound) == (0, False)


def test_the_whole_view_may_take_longer_than_one_organization(
    session: Session, make_roster: MakeRoster, host: HostView
) -> None:
    host.has(
        "create view host_seats as select 'org_1' as organization_id, 'voice' as seat_type, "
        "1 as active where pg_sleep(1.2) is not null"
    )
    roster = make_roster(roster_view="host_seats", roster_database_url=host.url)
    assert roster.view is not None
    assert roster.view.engine is not None
    with roster.view.engine.connect() as connection:
        connection.execute(text("set statement_timeout = '500ms'"))
        connection.commit()
        found = list(roster_view.all_counts(connection, "host_seats"))
        assert [each.active for each in found] == [1]
        connection.commit()
        with pytest.raises(OperationalError):
            roster_view.counts_of(connection, "host_seats", "org_1")


def test_a_host_with_numbers_for_ids(
    session: Session,
    make_roster: MakeRoster,
    host: HostView,
) -> None:
    host.has(
        "create table t (organization_id int, seat_type text, active boolean)",
        "insert into t values (7, 'voice', true)",
    )
    add_organization(session, "7", plan="agency")
    add_organization(session, "seven", plan="agency")
    roster = make_roster(roster_view="t", roster_database_url=host.url)
    assert roster.counts(session, "7").of("voice") == 1
    assert "integer" in (roster.counts(session, "seven").problem or "")


@pytest.mark.parametrize("wrong", ["null::int", "-1", "3000000000", "9223372036854775807"])
def test_an_unusable_active_is_a_problem_and_no_number(
    wrong: str,
    session: Session,
    make_roster: MakeRoster,
    host: HostView,
) -> None:
    host.has(
        "create view host_seats as select 'org_1' as organization_id, "
        f"'voice' as seat_type, {wrong} as active"
    )
    add_organization(session, "org_1", plan="agency")
    roster = make_roster(roster_view="host_seats", roster_database_url=host.url)
    counts = roster.counts(session, "org_1")
    assert counts.by_seat_type is None
    assert counts.problem == "the view host_seats has no usable `active` for voice of org_1"


def test_a_view_in_our_own_database_that_breaks_leaves_the_transaction_alive(
    session: Session, make_roster: MakeRoster
) -> None:
    add_organization(session, "org_1", plan="agency")
    roster = make_roster(roster_view="not_there")
    problem = roster.counts(session, "org_1").problem
    assert problem == 'relation "not_there" does not exist'
    assert session.scalar(text("select 1")) == 1


def test_our_own_connection_that_is_lost_is_not_the_views_fault(
    engine: Engine, sessions: sessionmaker[Session], make_roster: MakeRoster
) -> None:
    """A settle that met it is tried again; what was read as "no counts" would be recorded."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "create view falls as select 'org_1' as organization_id, 'voice' as seat_type, "
                "pg_terminate_backend(pg_backend_pid()) as active"
            )
        )
    try:
        with sessions.begin() as session:
            add_organization(session, "org_1", plan="agency")
        with sessions() as session, pytest.raises(OperationalError) as lost:
            make_roster(roster_view="falls").counts(session, "org_1")
    finally:
        with engine.begin() as connection:
            connection.execute(text("drop view falls"))
    assert classify(lost.value).error_class is ErrorClass.RETRY


@pytest.mark.parametrize(
    ("view", "said"),
    [
        ("select 1 as organization_id, 'a' as seat_type", "has no column active"),
        (
            "select 'o' as organization_id, 'a' as seat_type, 'yes' as active",
            "must have `active` as a boolean or an integer",
        ),
        (
            "select 'o' as organization_id, 'a' as seat_type, 1.5 as active",
            "must have `active` as a boolean or an integer",
        ),
    ],
)
def test_the_start_refuses_a_view_of_another_shape(
    view: str,
    said: str,
    session: Session,
    make_roster: MakeRoster,
    host: HostView,
) -> None:
    host.has(f"create view host_seats as {view}")
    roster = make_roster(roster_view="host_seats", roster_database_url=host.url)
    with pytest.raises(RosterUnreadable, match=said):
        roster.check(session)


def test_a_host_that_is_away_is_a_problem(session: Session, make_roster: MakeRoster) -> None:
    add_organization(session, "org_1", plan="agency")
    roster = make_roster(
        roster_view="host_seats", roster_database_url="postgresql://nobody@127.0.0.1:1/away"
    )
    assert "refused" in (roster.counts(session, "org_1").problem or "")
    with pytest.raises(RosterUnreadable, match="refused"):
        roster.check(session)


def test_a_name_that_is_no_view_is_refused_at_the_start(
    make_roster: MakeRoster,
) -> None:
    with pytest.raises(ValueError, match="TRUEUP_ROSTER_VIEW"):
        make_roster(roster_view='x"; drop table members; --')
