"""A night whose host cannot say who is active: all of them, or one of them."""

from collections.abc import Iterator
from datetime import date

import pytest
from sqlalchemy import Engine, select

from reconcile.database import build_engine
from reconcile.nights import nightly
from reconcile.nights.report import Report
from reconcile.roster import RosterUnreadable
from reconcile.settings import Settings
from reconcile.settling.work import work_off
from reconcile.tables import events, findings
from tests.support.host_view import VIEW, HostView
from tests.support.inbox import change_event
from tests.support.sandbox import Sandbox
from tests.support.shop import Shop, opened_shop

NIGHTS = [date(2026, 3, night) for night in range(1, 9)]


@pytest.fixture
def host(blank_database_url: str) -> Iterator[HostView]:
    engine = build_engine(blank_database_url)
    opened = HostView(blank_database_url, engine)
    opened.open()
    yield opened
    engine.dispose()


@pytest.fixture
def near_host(engine: Engine) -> Iterator[HostView]:
    """A host whose tables are in our own database."""
    opened = HostView("", engine)
    opened.open()
    yield opened
    opened.has(f"drop view if exists {VIEW}", "drop table counted")


@pytest.fixture
def shop(settings: Settings, sandbox: Sandbox, host: HostView) -> Iterator[Shop]:
    with opened_shop(counting_from(host, settings), sandbox) as opened:
        yield opened


def counting_from(host: HostView, settings: Settings) -> Settings:
    """Settings that count members in the host's view."""
    hosted = {"roster_view": VIEW, "roster_database_url": host.url, "retry_base_s": 0.01}
    return settings.model_copy(update=hosted)


def subscribed(shop: Shop, host: HostView, organization_id: str, *, plan: str = "agency") -> str:
    """An organization with 3 Voice seats and 2 active members, settled."""
    customer = shop.organization(organization_id, plan=plan)
    host.counts(organization_id, voice=2, base=1)
    subscription_id = shop.subscribe(
        customer, {"voice": 3, "base": 1}, organization_id=organization_id
    )
    shop.settle(subscription_id)
    return subscription_id


def run(shop: Shop, night: int) -> Report:
    return nightly.run(shop.services, NIGHTS[night], writes=True)


def open_findings(shop: Shop) -> set[tuple[str, str]]:
    with shop.services.sessions() as session:
        rows = session.execute(
            select(findings.c.kind, findings.c.subject).where(findings.c.closed_at.is_(None))
        )
        return {(row.kind, row.subject) for row in rows}


def left_to_workers(shop: Shop) -> dict[str, str]:
    with shop.services.sessions() as session:
        rows = session.execute(select(events).where(events.c.type == nightly.UNSETTLED))
        return {row.work_key: row.id for row in rows}


@pytest.mark.parametrize("where", ["host", "near_host"])
def test_what_needs_no_counts_is_found_without_them(
    where: str, settings: Settings, sandbox: Sandbox, request: pytest.FixtureRequest
) -> None:
    host: HostView = request.getfixturevalue(where)
    with opened_shop(counting_from(host, settings), sandbox) as shop:
        lowered, held, ended, quiet = (
            subscribed(shop, host, f"org_{name}") for name in ("lowered", "held", "ended", "quiet")
        )
        shop.edit(lowered, "voice", 1)
        sandbox.post(f"/v1/subscriptions/{held}", {"pause_collection[behavior]": "void"})
        sandbox._answer("DELETE", f"/v1/subscriptions/{ended}")
        stranger = shop.subscribe(
            str(sandbox.post("/v1/customers")["id"]),
            {"voice": 1},
            organization_id="org_later",
            trial_period_days=5,
        )
        host.close()

        report = run(shop, 0)

        assert (report.state, report.failed) == ("done", 0)
        assert report.roster_problem == f'relation "{VIEW}" does not exist'
        assert report.differing == {"quantity": 1, "status": 1, "not in the list": 1}
        # One of them for everybody, and what needs no counts; nothing that does.
        told = {
            ("roster_unreadable", "installation"),
            ("collection_paused", held),
            ("unknown_customer", stranger),
        }
        assert open_findings(shop) == told
        assert [shop.writes(each) for each in (lowered, held, quiet)] == [0, 0, 0]
        assert set(left_to_workers(shop)) == {f"sub:{each}" for each in (lowered, held, ended)}
        assert run(shop, 1).findings_opened == 0  # told once, not every night
        assert open_findings(shop) == told


def test_the_night_after_makes_up_for_it(shop: Shop, host: HostView) -> None:
    lowered, grown = (subscribed(shop, host, f"org_{name}") for name in ("lowered", "grown"))
    shop.edit(lowered, "voice", 1)
    host.counts("org_grown", voice=5, base=1)
    host.close()
    run(shop, 0)
    host.reopen()
    report = run(shop, 1)
    assert report.roster_problem is None
    assert report.differing == {"quantity": 1, "active count": 1}
    assert shop.quantities(lowered) == {"voice": 2, "base": 1}
    assert open_findings(shop) == {("active_over_quantity", f"{grown}/voice")}


def test_what_counts_opened_is_not_closed_without_them(shop: Shop, host: HostView) -> None:
    grown = subscribed(shop, host, "org_grown")
    host.counts("org_grown", voice=5, base=1)
    shop.organization("org_bereft")
    host.counts("org_bereft", voice=2)
    run(shop, 0)
    told = {
        ("active_over_quantity", f"{grown}/voice"),
        ("active_without_subscription", "org_bereft"),
    }
    assert open_findings(shop) == told
    host.close()
    run(shop, 1)
    assert open_findings(shop) == told | {("roster_unreadable", "installation")}
    host.reopen()
    host.counts("org_grown", voice=2, base=1)
    host.counts("org_bereft")
    run(shop, 2)
    assert open_findings(shop) == set()
    assert run(shop, 3).differing == {}


@pytest.mark.parametrize("wrong", [None, 9_223_372_036_854_775_807])
def test_one_organization_that_cannot_be_counted_is_unknown_alone(
    shop: Shop, host: HostView, wrong: int | None
) -> None:
    bad, lowered = (subscribed(shop, host, f"org_{name}") for name in ("bad", "lowered"))
    for each in (bad, lowered):
        shop.edit(each, "voice", 1)
    shop.organization("org_bereft")
    host.counts("org_bereft", voice=2)
    run(shop, 0)
    shop.edit(lowered, "voice", 1)
    host.counts("org_bad", voice=wrong, base=1)
    host.counts("org_bereft", voice=wrong)
    shop.edit(bad, "voice", 1)

    report = run(shop, 1)

    assert report.roster_problem is None
    assert shop.quantities(bad)["voice"] == 1
    assert shop.quantities(lowered)["voice"] == 2
    assert open_findings(shop) == {
        ("counts_unreadable", bad),
        ("counts_unreadable", "org_bereft"),
        ("active_without_subscription", "org_bereft"),
    }
    host.counts("org_bad", voice=2, base=1)
    host.counts("org_bereft")
    run(shop, 2)
    assert shop.quantities(bad)["voice"] == 2
    assert open_findings(shop) == set()
    assert run(shop, 3).differing == {}


def test_a_view_that_one_row_breaks_is_read_by_organization(shop: Shop, host: HostView) -> None:
    """The night cannot read it; who asks for one organization finds whose row it is."""
    bad, lowered = (subscribed(shop, host, f"org_{name}") for name in ("bad", "lowered"))
    for each in (bad, lowered):
        shop.edit(each, "voice", 1)
    host.counts("org_bad", voice=0, base=1)
    host.reopen(active="active / active * active")
    assert run(shop, 0).roster_problem == "division by zero"
    assert shop.writes(bad) == 0
    assert open_findings(shop) == {
        ("counts_unreadable", bad),
        ("roster_unreadable", "installation"),
    }
    host.reopen()
    shop.settle(lowered)
    # That one can be read makes up for no night.
    assert ("roster_unreadable", "installation") in open_findings(shop)
    host.counts("org_bad", voice=2, base=1)
    run(shop, 1)
    assert shop.quantities(bad)["voice"] == shop.quantities(lowered)["voice"] == 2
    assert open_findings(shop) == set()


def test_a_settle_that_meets_it_first_tells_it_and_takes_it_back(
    shop: Shop, host: HostView
) -> None:
    sub = subscribed(shop, host, "org_1")
    host.close()
    with pytest.raises(RosterUnreadable):
        shop.settle(sub)
    assert open_findings(shop) == {("roster_unreadable", "installation")}
    host.reopen()
    shop.settle(sub)
    assert open_findings(shop) == set()


def test_rows_of_nobody_are_nobodys(shop: Shop, host: HostView) -> None:
    subscribed(shop, host, "org_1")
    host.has(
        "insert into counted values (null, 'voice', 7), ('org_1', null, 7), "
        "('', 'voice', 1), ('org_else', 'voice', 1)"
    )
    report = run(shop, 0)
    assert (report.differing, report.roster_problem) == ({}, None)


def test_what_was_left_to_a_worker_waits_for_the_roster(shop: Shop, host: HostView) -> None:
    """money.floor: a reduction and a raise both need the count."""
    lowered = subscribed(shop, host, "org_lowered")
    shop.edit(lowered, "voice", 1)
    host.close()
    run(shop, 0)
    (event_id,) = left_to_workers(shop).values()

    report = work_off(shop.services, f"sub:{lowered}")

    assert report.ended == "waiting"
    assert "roster view cannot be read" in report.line
    assert shop.writes(lowered) == 0
    host.reopen()
    with shop.services.sessions.begin() as session:
        change_event(session, event_id, due_at=shop.services.clock())
    assert work_off(shop.services, f"sub:{lowered}").ended == "done"
    assert shop.quantities(lowered)["voice"] == 2
