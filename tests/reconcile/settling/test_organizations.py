"""Many own seats at once: some in a go, the rest right after, each asked for once."""

import pytest
from sqlalchemy import select, update

from reconcile.settling import organizations
from reconcile.settling.work import WorkReport, work_off
from reconcile.store.inbox import add_request
from reconcile.store.roster import ROSTER_CHANGED
from reconcile.tables import findings, members
from tests.support.roster import add_member
from tests.support.shop import Shop

KEY = "org:org_1"
PEOPLE = ("ann", "bob", "cy", "dee", "eve")


def own_seats(shop: Shop) -> dict[str, str]:
    """The subscription of each of five members."""
    customer = shop.organization("org_1", plan="workspace_pro")
    with shop.services.sessions.begin() as session:
        for member_id in PEOPLE:
            add_member(session, "org_1", member_id, role="member", seat_type="pro")
    seats = {
        member_id: shop.subscribe(
            customer, {"pro": 1}, plan="workspace_pro", **{"metadata[member_id]": member_id}
        )
        for member_id in PEOPLE
    }
    for subscription_id in seats.values():
        shop.settle(subscription_id)
    return seats


def imported(shop: Shop, *, status: str) -> None:
    """Everybody's status, as an import says it: it names nobody."""
    with shop.services.sessions.begin() as session:
        session.execute(update(members).values(status=status))
        add_request(
            session, type=ROSTER_CHANGED, work_key=KEY, payload={}, due_at=shop.services.clock()
        )


def worked_off(shop: Shop) -> list[WorkReport]:
    """Work off the key for as long as it is due at once."""
    reports = [work_off(shop.services, KEY)]
    while reports[-1].again_at and len(reports) < 10:
        reports.append(work_off(shop.services, KEY))
    return reports


def without_member(shop: Shop) -> set[str]:
    with shop.services.sessions() as session:
        rows = session.scalars(
            select(findings.c.subject).where(
                findings.c.kind == "seat_without_member", findings.c.closed_at.is_(None)
            )
        )
        return set(rows)


def test_after_an_import_no_seat_waits_for_the_night(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(organizations, "MOST_SUSPECTS", 2)
    seats = own_seats(shop)
    imported(shop, status="blocked")
    shop.sandbox._answer("DELETE", "/_sandbox/calls")

    reports = worked_off(shop)

    assert [report.ended for report in reports] == ["postponed", "postponed", "done"]
    assert [report.line.rpartition("; ")[2] for report in reports[:2]] == [
        "3 own seats to go",
        "1 own seats to go",
    ]
    assert without_member(shop) == set(seats.values())
    assert shop.sandbox.observe("/calls")["total"] == len(seats)
    # And back again; nothing is asked of those that fit.
    imported(shop, status="active")
    assert [report.ended for report in worked_off(shop)] == ["postponed", "postponed", "done"]
    assert without_member(shop) == set()
    imported(shop, status="active")
    assert [report.ended for report in worked_off(shop)] == ["done"]
    assert shop.sandbox.observe("/calls")["total"] == 2 * len(seats)


def test_seats_that_stay_as_they_are_do_not_keep_it_due(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said of a seat in motion waits; the night looks at it."""
    monkeypatch.setattr(organizations, "MOST_SUSPECTS", 2)
    stuck = list(own_seats(shop).values())
    monkeypatch.setattr(organizations, "_suspects", lambda *_: stuck)
    imported(shop, status="blocked")
    assert [report.ended for report in worked_off(shop)] == ["done"]
