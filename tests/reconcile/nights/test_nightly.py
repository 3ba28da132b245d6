"""The nightly run: what it reads, what it leaves alone, what it settles, and what it survives."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import orjson
import pytest
from sqlalchemy import func, select, update

from reconcile.budget import Unbudgeted
from reconcile.database import exclusive
from reconcile.nights import nightly
from reconcile.nights.report import Report
from reconcile.policy.values import FindingKind, Observation, Verdict
from reconcile.settings import Settings
from reconcile.settling import beside, settle
from reconcile.settling.course import Course
from reconcile.settling.work import work_off
from reconcile.store import findings
from reconcile.store.findings import Scope
from reconcile.store.notices import DELIVER
from reconcile.store.roster import Organization
from reconcile.stripe_api import Page, StripeApi
from reconcile.tables import events, members, nightly_differs, nightly_seen, runs
from tests.support.roster import add_member, add_members, add_organization
from tests.support.sandbox import Sandbox
from tests.support.shop import Shop, opened_shop

NIGHT = date(2026, 3, 1)


@pytest.fixture
def shop(settings: Settings, sandbox: Sandbox) -> Iterator[Shop]:
    with opened_shop(settings.model_copy(update={"retry_base_s": 0.05}), sandbox) as opened:
        yield opened


def calls(sandbox: Sandbox) -> int:
    return len(sandbox.observe("/calls")["calls"])


def agreeing(shop: Shop, count: int) -> list[str]:
    """So many organizations with 3 voice seats, 2 of them in use, all settled."""
    found = []
    for number in range(count):
        organization_id = f"agree_{number}"
        customer = shop.organization(organization_id, voice=2, base=1)
        subscription_id = shop.subscribe(
            customer, {"voice": 3, "base": 1}, organization_id=organization_id
        )
        shop.settle(subscription_id)
        found.append(subscription_id)
    return found


def run(shop: Shop, *, writes: bool = True, night: date = NIGHT) -> Report:
    return nightly.run(shop.services, night, writes=writes)


def test_what_agrees_costs_one_page_and_no_other_call(shop: Shop, sandbox: Sandbox) -> None:
    agreeing(shop, 3)
    before = calls(sandbox)
    report = run(shop)
    assert calls(sandbox) - before == 1
    assert (report.state, report.pages, report.subscriptions) == ("done", 1, 3)
    assert (report.differing, report.settled, report.failed) == ({}, 0, 0)
    with shop.services.sessions() as session:
        for table in (nightly_seen, nightly_differs):
            assert session.scalar(select(func.count()).select_from(table)) == 0


def test_a_drift_below_the_floor_is_raised_back_with_three_calls(
    shop: Shop, sandbox: Sandbox
) -> None:
    first, *_ = agreeing(shop, 2)
    shop.edit(first, "voice", 1, proration_behavior="always_invoice")
    before = calls(sandbox)
    report = run(shop)
    assert report.differing == {"quantity": 1}
    assert (report.settled, report.failed) == (1, 0)
    assert shop.quantities(first) == {"voice": 2, "base": 1}
    assert calls(sandbox) - before - 1 <= 1 + 3  # one page, the drift, and our own look above
    assert report.adjustments == {"applied": 1}
    (moved,) = report.moved
    assert (moved.currency, moved.direction, moved.adjustments) == ("usd", "charged", 1)
    invoice = shop.invoices(first, "subscription_update")[-1]
    assert moved.total_minor == invoice["total"] > 0


def test_a_dry_run_writes_nothing_and_says_what_it_would_have_done(
    shop: Shop, sandbox: Sandbox
) -> None:
    """money.dry_run."""
    (first,) = agreeing(shop, 1)
    shop.edit(first, "voice", 1, proration_behavior="always_invoice")
    report = run(shop, writes=False)
    assert shop.quantities(first) == {"voice": 1, "base": 1}
    assert shop.writes(first) == 0
    assert (report.would_change, report.not_previewed, report.moved) == (1, 0, [])
    (would,) = report.would_move
    assert (would.currency, would.direction) == ("usd", "charged")
    written = run(shop, writes=True)
    (moved,) = written.moved
    assert abs(moved.total_minor - would.total_minor) <= 1  # a second or two later


def test_a_look_leaves_the_night_and_its_report_as_they_were(shop: Shop) -> None:
    """What the schedule finds afterwards is what it would have found without it."""
    (first,) = agreeing(shop, 1)
    for done_before in (False, True):
        before = rows_of_runs(shop)
        assert bool(before) is done_before
        shop.edit(first, "voice", 1, proration_behavior="always_invoice")
        report = nightly.run(shop.services, NIGHT, writes=False, again=True)
        assert (report.state, report.writes, report.would_change) == ("done", False, 1)
        assert rows_of_runs(shop) == before
        assert nightly.run(shop.services, NIGHT, writes=True, again=done_before).writes
        assert shop.quantities(first) == {"voice": 2, "base": 1}


def rows_of_runs(shop: Shop) -> list[Any]:
    with shop.services.sessions() as session:
        return list(session.execute(select(runs)).all())


def test_the_same_night_is_done_once(shop: Shop, sandbox: Sandbox) -> None:
    (first,) = agreeing(shop, 1)
    run(shop)
    shop.edit(first, "voice", 1, proration_behavior="always_invoice")
    before = calls(sandbox)
    again = run(shop)
    assert (again.state, again.differing) == ("done", {})
    assert run(shop, writes=False).writes  # it was written already: no dry run any more
    assert calls(sandbox) == before
    assert run(shop, night=date(2026, 3, 2)).differing == {"quantity": 1}


def test_a_subscription_of_a_known_organization_is_adopted(shop: Shop) -> None:
    customer = shop.organization("org_1", voice=2)
    subscription_id = shop.subscribe(customer, {"voice": 2})
    report = run(shop)
    assert report.differing == {"new in Stripe": 1}
    assert shop.seats(subscription_id)["voice"].quantity == 2
    assert run(shop, night=date(2026, 3, 2)).differing == {}


def test_a_subscription_of_nobody_is_a_finding_until_somebody_is_imported(
    shop: Shop, sandbox: Sandbox
) -> None:
    customer = str(sandbox.post("/v1/customers")["id"])
    subscription_id = shop.subscribe(
        customer,
        {"voice": 2},
        organization_id="later",
        collection_method="send_invoice",
        days_until_due=30,
    )
    before = calls(sandbox)
    report = run(shop)
    assert calls(sandbox) - before == 1
    assert (report.unknown, report.findings_opened, report.differing) == (1, 1, {})
    assert shop.findings(subscription_id) == {"unknown_customer"}
    second = run(shop, night=date(2026, 3, 2))
    assert (second.unknown, second.findings_opened) == (1, 0)
    shop.organization("later", voice=1)
    third = run(shop, night=date(2026, 3, 3))
    assert (third.unknown, third.findings_closed) == (0, 1)
    assert shop.findings(subscription_id) == set()


def test_what_the_list_does_not_show_is_fetched(shop: Shop, sandbox: Sandbox) -> None:
    first, _ = agreeing(shop, 2)
    sandbox._answer("DELETE", f"/v1/subscriptions/{first}")
    report = run(shop)
    assert report.differing == {"not in the list": 1}
    assert "active_without_subscription" in shop.findings(first)
    assert run(shop, night=date(2026, 3, 2)).differing == {}


def test_a_status_that_no_webhook_told(shop: Shop, sandbox: Sandbox) -> None:
    first, _ = agreeing(shop, 2)
    sandbox.post(f"/v1/subscriptions/{first}", {"cancel_at_period_end": "true"})
    assert run(shop).differing == {"status": 1}
    assert run(shop, night=date(2026, 3, 2)).differing == {}


def test_a_declined_payment_that_nothing_calls_for_any_more(shop: Shop) -> None:
    """An activation was declined and refused: no event comes of that, and nobody asks again."""
    first, _ = agreeing(shop, 2)
    declined = Observation(kind=FindingKind.PAYMENT_DECLINED, urgent=True, summary="declined")
    scope = Scope(organization_id="agree_0", subscription_id=first)
    with shop.services.sessions.begin() as session:
        findings.observe(session, scope, declined, at=shop.services.clock(), opened_by="adj_1")
    assert run(shop).differing == {"open finding": 1}
    assert shop.findings(first) == set()
    assert run(shop, night=date(2026, 3, 2)).differing == {}


def test_a_second_subscription_that_is_over_is_none_to_the_first(shop: Shop) -> None:
    """Its end is told of itself alone: of the other one, no event may come for a year."""
    customer = shop.organization("org_1", voice=2)
    first, second = (shop.subscribe(customer, {"voice": 2}) for _ in range(2))
    for each in (first, second, first):
        shop.settle(each)
    assert "several_subscriptions" in shop.findings(first) & shop.findings(second)
    shop.sandbox._answer("DELETE", f"/v1/subscriptions/{second}")
    shop.settle(second)
    assert "several_subscriptions" in shop.findings(first)
    assert run(shop).differing == {"open finding": 1}
    assert shop.findings(first) == shop.findings(second) == set()
    assert run(shop, night=date(2026, 3, 2)).differing == {}


def test_a_roster_that_grew_without_an_event(shop: Shop) -> None:
    first, _ = agreeing(shop, 2)
    shop.activate("agree_0", "voice", 5)
    report = run(shop)
    assert report.differing == {"active count": 1}
    assert "active_over_quantity" in shop.findings(first)
    shop.activate("agree_0", "voice", 1)
    # Fewer in use than bought is nothing to write, and what was told is over.
    assert run(shop, night=date(2026, 3, 2)).differing == {"open finding": 1}
    assert shop.findings(first) == set()
    assert run(shop, night=date(2026, 3, 3)).differing == {}


def test_one_failure_does_not_stop_the_run_and_is_left_to_a_worker(
    shop: Shop, sandbox: Sandbox
) -> None:
    first, second = agreeing(shop, 2)
    for subscription_id in (first, second):
        shop.edit(subscription_id, "voice", 1, proration_behavior="always_invoice")
    sandbox.control(
        "/faults",
        {
            "kind": "server_error",
            "method": "GET",
            "path": f"/v1/subscriptions/{first}",
            "times": 10,
        },
    )
    report = run(shop)
    assert (report.settled, report.failed) == (1, 1)
    assert shop.quantities(second) == {"voice": 2, "base": 1}
    assert report.failures[0].startswith(f"sub:{first} (quantity): ")
    with shop.services.sessions() as session:
        left = session.execute(select(events).where(events.c.type != DELIVER)).one()
    assert (left.type, left.work_key) == ("trueup.nightly.unsettled", f"sub:{first}")


def test_one_subscription_that_cannot_be_read_is_a_failure_of_its_own(shop: Shop) -> None:
    odd, drifted = agreeing(shop, 2)
    shop.edit(drifted, "voice", 1, proration_behavior="always_invoice")

    class Odd(StripeApi):
        """A Stripe that has one subscription of a shape nobody foresaw."""

        def subscriptions_page(self, *args: Any, **filters: Any) -> Page:
            page = super().subscriptions_page(*args, **filters)
            raw = [{**each, "status": 7 if each["id"] == odd else "active"} for each in page.raw]
            return replace(page, raw=raw)

    api = Odd(shop.services.settings, Unbudgeted())
    report = run(replace(shop, services=replace(shop.services, stripe=api)))
    assert (report.state, report.failed) == ("done", 1)
    assert odd in report.failures[0]
    assert shop.quantities(drifted) == {"voice": 2, "base": 1}
    # It is looked at by itself: what the list showed is not believed, so it counts as missing.
    assert report.differing == {"quantity": 1, "not in the list": 1}


def test_what_holds_of_organizations_is_told_without_a_call(shop: Shop, sandbox: Sandbox) -> None:
    with shop.services.sessions.begin() as session:
        add_organization(session, "scale", plan="commerce_growth")  # 3 Admin seats, 7 at most
        add_members(session, "scale", "admin", role="admin", active=8)
        add_organization(session, "workspace", plan="workspace_pro")  # every member pays
        add_members(session, "workspace", "pro", active=1)
    before = calls(sandbox)
    report = run(shop)
    assert calls(sandbox) - before == 1
    assert report.differing == {"included seats": 1, "member without a seat": 1}
    assert "over_hard_cap" in shop.findings(None, "scale")
    assert shop.findings(None, "workspace") == {"member_without_seat"}
    with shop.services.sessions.begin() as session:
        session.execute(update(members).values(status="removed"))
    again = run(shop, night=date(2026, 3, 2))
    assert again.differing == {"open finding": 2}
    assert shop.findings(None, "scale") == shop.findings(None, "workspace") == set()


def test_an_own_seat_without_its_member_is_told(shop: Shop) -> None:
    customer = shop.organization("org_1", plan="workspace_pro")
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "ann", role="admin", seat_type="pro")
    subscription_id = shop.subscribe(
        customer, {"pro": 1}, plan="workspace_pro", **{"metadata[member_id]": "ann"}
    )
    assert run(shop).differing == {"new in Stripe": 1, "member without a seat": 1}
    assert run(shop, night=date(2026, 3, 2)).differing == {}
    with shop.services.sessions.begin() as session:
        session.execute(update(members).values(status="blocked"))
    assert run(shop, night=date(2026, 3, 3)).differing == {"member": 1, "own seats": 1}
    assert shop.findings(subscription_id) == {"seat_without_member"}


def test_an_organization_is_looked_at_once_for_all_of_its_own_seats(
    shop: Shop, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = shop.organization("org_1", plan="workspace_pro")
    people = ("ann", "bob", "cy")
    with shop.services.sessions.begin() as session:
        for member_id in people:
            add_member(session, "org_1", member_id, role="member", seat_type="pro")
    seats = {
        member_id: shop.subscribe(
            customer, {"pro": 1}, plan="workspace_pro", **{"metadata[member_id]": member_id}
        )
        for member_id in people
    }
    run(shop)
    assert shop.findings(None) == set()
    for member_id in ("ann", "bob"):
        sandbox._answer("DELETE", f"/v1/subscriptions/{seats[member_id]}")
    looked_at: list[str] = []
    look = beside.note_organization

    def noted(course: Course, organization: Organization) -> Verdict:
        looked_at.append(organization.id)
        return look(course, organization)

    for module in (beside, settle):
        monkeypatch.setattr(module, "note_organization", noted)
    report = run(shop, night=date(2026, 3, 2))
    assert report.differing == {"not in the list": 2, "own seats": 1}
    assert looked_at == ["org_1"]
    with shop.services.sessions() as session:
        scope = Scope(organization_id="org_1")
        told = {each.subject for each in findings.open_of(session, scope)}
    assert told == {"org_1/ann", "org_1/bob"}


def test_a_dry_run_settles_findings_but_adopts_no_quantity(shop: Shop) -> None:
    (first,) = agreeing(shop, 1)
    shop.edit(first, "voice", 5)
    report = run(shop, writes=False)
    assert report.differing == {"quantity": 1}
    seat = shop.seats(first)["voice"]
    assert (seat.quantity, seat.stripe_quantity) == (3, 5)
    run(shop, writes=True)
    assert shop.seats(first)["voice"].quantity == 5
    assert "quantity" not in run(shop, night=date(2026, 3, 2)).differing


def test_what_another_process_holds_is_left_to_a_worker(shop: Shop) -> None:
    (first,) = agreeing(shop, 1)
    shop.edit(first, "voice", 1, proration_behavior="always_invoice")
    with exclusive(shop.services.engine, f"sub:{first}") as mine:
        assert mine
        report = run(shop)
    assert (report.postponed, report.settled) == (1, 0)
    with shop.services.sessions() as session:
        left = session.execute(select(events).where(events.c.type != DELIVER)).one()
    assert (left.type, left.work_key) == ("trueup.nightly.unsettled", f"sub:{first}")
    work_off(shop.services, f"sub:{first}")
    assert shop.quantities(first) == {"voice": 2, "base": 1}


def test_the_report_comes_back_from_its_json() -> None:
    report = Report(night=NIGHT, writes=False)
    report.would("usd", 5_000)
    report.would("usd", 2_500)
    report.would("usd", -100)
    report.would("jpy", 10)
    assert [(m.currency, m.direction, m.total_minor, m.adjustments) for m in report.would_move] == [
        ("usd", "charged", 7_500, 2),
        ("usd", "credited", -100, 1),
        ("jpy", "charged", 10, 1),
    ]
    assert Report.of_json(NIGHT, orjson.loads(orjson.dumps(report.as_json()))) == report
