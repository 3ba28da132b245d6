"""Notices, reviews, usage and credits over the API."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconcile.outward.reviews import tick
from reconcile.settling.beside import check_organization
from reconcile.store import credits as ledger
from reconcile.store import notices, reviews, subscriptions
from tests.support.api import Client, a_token
from tests.support.roster import add_members, add_organization
from tests.support.shop import Shop


def commerce(shop: Shop, organization_id: str = "org_1", admins: int = 8) -> None:
    with shop.services.sessions.begin() as session:
        add_organization(session, organization_id, plan="commerce_scale")
        add_members(session, organization_id, "admin", role="admin", active=admins)


def told(shop: Shop, count: int, organization_id: str | None = "org_1") -> list[str]:
    found = []
    for number in range(count):
        with shop.services.sessions.begin() as session:
            found.append(
                notices.add(
                    session,
                    "member.changed",
                    f"{organization_id}/mem_{number}",
                    f"mem_{number} is active",
                    organization_id=organization_id,
                    due_at=shop.services.clock(),
                    data={"member_id": f"mem_{number}", "what": "activated"},
                )
            )
    return [str(notice_id) for notice_id in found]


def test_notices_are_listed_newest_first_a_page_at_a_time(api: Client, shop: Shop) -> None:
    ids = told(shop, 5)
    seen, cursor = [], None
    for _ in range(3):
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = api.get("/notices", **query).ok()
        seen += [one["id"] for one in page["data"]]
        cursor = page["next_cursor"]
    assert cursor is None
    assert seen == ids[::-1]
    one = api.get(f"/notices/{ids[0]}").ok()
    assert one["type"] == "member.changed"
    assert one["data"] == {"member_id": "mem_0", "what": "activated"}
    assert (one["audience"], one["delivered_at"]) == ("host", None)
    assert one["request_id"].startswith("tru_")


def test_notices_are_filtered(api: Client, shop: Shop) -> None:
    told(shop, 2, "org_1")
    (other,) = told(shop, 1, "org_2")
    with shop.services.sessions.begin() as session:
        tried = notices.Try(
            at=datetime.now(UTC), delivered=True, status=204, trouble=None, holds_until=None
        )
        notices.write_try(session, other, tried)
    assert len(api.get("/notices", organization_id="org_1").ok()["data"]) == 2
    assert [n["id"] for n in api.get("/notices", delivered="true").ok()["data"]] == [other]
    assert api.get("/notices", type="review.opened").ok()["data"] == []
    api.get("/notices", cursor="WzEsMl0=").problem(422, "invalid")
    api.get("/notices", cursor="WyJhIiwiYiJd").problem(422, "invalid")
    api.get("/notices/ntc_none").problem(404, "not_found")


def test_a_bound_token_sees_its_own_only(api: Client, shop: Shop) -> None:
    commerce(shop)
    commerce(shop, "org_2", admins=2)
    check_organization(shop.services, "org_1", trigger="evt_1")
    told(shop, 1, None)
    bound = api.with_token(a_token(shop.services, "read", "operate", organization_id="org_2"))
    assert bound.get("/notices").ok()["data"] == []
    assert bound.get("/reviews").ok()["data"] == []
    (review,) = api.get("/reviews").ok()["data"]
    (notice, *_) = api.get("/notices", organization_id="org_1").ok()["data"]
    bound.get(f"/reviews/{review['id']}").problem(404, "not_found")
    bound.post(f"/reviews/{review['id']}/close", because="x").problem(404, "not_found")
    bound.get(f"/notices/{notice['id']}").problem(404, "not_found")
    bound.get("/notices", organization_id="org_1").problem(404, "not_found")


def test_a_review_is_read_extended_and_closed(api: Client, shop: Shop) -> None:
    """C8."""
    commerce(shop)
    check_organization(shop.services, "org_1", trigger="evt_1")
    (review,) = api.get("/reviews", organization_id="org_1", state="open").ok()["data"]
    assert review["over"] == [{"seat_type": "admin", "active": 8, "hard_cap": 7}]
    path = f"/reviews/{review['id']}"
    assert api.get(path).ok().json == review
    later = (datetime.now(UTC) + timedelta(days=60)).replace(microsecond=0)
    extended = api.post(f"{path}/extend", grace_ends_at=later.isoformat(), because="talks").ok()
    assert datetime.fromisoformat(extended["grace_ends_at"]) == later
    api.post(f"{path}/extend", grace_ends_at=later.isoformat(), because="again").problem(
        409, "grace_not_longer"
    )
    api.post(f"{path}/close").problem(422, "invalid")
    closed = api.post(f"{path}/close", because="they signed").ok()
    assert closed["closed_because"] == "they signed"
    assert closed["closed_by"].startswith("token:")
    api.post(f"{path}/close", because="they signed").problem(409, "review_closed")
    assert api.get("/reviews", state="open").ok()["data"] == []
    assert [r["id"] for r in api.get("/reviews", state="closed").ok()["data"]] == [review["id"]]
    api.post("/reviews/999/close", because="x").problem(404, "not_found")
    reader = api.with_token(a_token(shop.services, "read"))
    reader.post(f"{path}/close", because="x").problem(403, "scope_missing")


def test_two_months_of_large_usage_open_one_review(api: Client, shop: Shop) -> None:
    """C9."""
    commerce(shop, admins=1)
    usage = "/organizations/org_1/usage"
    api.put(f"{usage}/2026-03", orders=2501, gmv_minor={"aud": 100}).ok()
    assert api.get("/reviews").ok()["data"] == []
    said = api.put(f"{usage}/2026-04", orders=2600).ok()
    assert (said["month"], said["orders"], said["gmv_minor"]) == ("2026-04", 2600, {})
    (review,) = api.get("/reviews", kind="usage").ok()["data"]
    assert review["grace_ends_at"] is None
    months = api.get(usage).ok()["data"]
    assert [(m["month"], m["orders"], m["gmv_minor"]) for m in months] == [
        ("2026-04", 2600, {}),
        ("2026-03", 2501, {"aud": 100}),
    ]
    api.post(
        f"/reviews/{review['id']}/extend", grace_ends_at="2099-01-01T00:00:00Z", because="x"
    ).problem(409, "no_grace")
    api.put(f"{usage}/2026-04", orders=2400).ok()
    assert api.get(f"/reviews/{review['id']}").ok()["closed_by"] == "trueup"


def test_usage_that_a_person_saw_is_not_news_while_it_goes_on(api: Client, shop: Shop) -> None:
    """C9."""
    commerce(shop, admins=1)
    usage = "/organizations/org_1/usage"
    for month in ("2026-01", "2026-02"):
        api.put(f"{usage}/{month}", orders=2600).ok()
    (review,) = api.get("/reviews").ok()["data"]
    api.post(f"/reviews/{review['id']}/close", because="we talked").ok()
    api.put(f"{usage}/2026-03", orders=2700).ok()
    assert len(api.get("/reviews").ok()["data"]) == 1
    for month, count in (("2026-04", 100), ("2026-05", 2600), ("2026-06", 2600)):
        api.put(f"{usage}/{month}", orders=count).ok()
    found = api.get("/reviews").ok()["data"]
    assert [one["closed_at"] is None for one in found] == [True, False]


@pytest.mark.parametrize(
    ("month", "body"),
    [
        ("2026-13", {"orders": 1}),
        ("26-01", {"orders": 1}),
        ("2026-01", {}),
        ("2026-01", {"orders": -1}),
        ("2026-01", {"orders": "3"}),
        ("2026-01", {"gmv_minor": {"AUD": 1}}),
        ("2026-01", {"gmv_minor": {"aud": 1.5}}),
        ("2026-01", {"orders": 10**16}),
    ],
)
def test_odd_usage_is_refused(api: Client, shop: Shop, month: str, body: dict[str, Any]) -> None:
    commerce(shop, admins=1)
    api.put(f"/organizations/org_1/usage/{month}", **body).problem(422, "invalid")
    api.put("/organizations/org_1/usage/2098-01", orders=1).problem(409, "month_not_begun")
    api.put("/organizations/org_9/usage/2026-01", orders=1).problem(404, "not_found")


def test_the_pool_and_its_ledger(api: Client, shop: Shop) -> None:
    """A4."""
    customer = shop.organization("org_1", plan="workspace_pro")
    seat = shop.subscribe(
        customer, {"pro": 1}, plan="workspace_pro", **{"metadata[member_id]": "ann"}
    )
    shop.settle(seat)
    now = shop.services.clock()
    with shop.services.sessions.begin() as session:
        assert subscriptions.held(session, seat) is not None
        for days in (-40, -10):
            start = now + timedelta(days=days)
            ledger.grant(
                session,
                organization_id="org_1",
                subscription_id=seat,
                member_id="ann",
                seat_type="pro",
                credits=1000,
                period_start=start,
                period_end=start + timedelta(days=30),
                granted_by="evt_1",
            )
    pool = api.get("/organizations/org_1/credits").ok()
    assert (pool["pool"], pool["by_seat_type"]) == (1000, {"pro": 1000})
    grants = api.get("/organizations/org_1/credits/grants").ok()["data"]
    assert [g["member_id"] for g in grants] == ["ann", "ann"]
    live = api.get("/organizations/org_1/credits/grants", live="true").ok()["data"]
    assert [g["id"] for g in live] == [grants[0]["id"]]
    api.get("/organizations/org_9/credits").problem(404, "not_found")
    api.get("/organizations/org_9/credits/grants").problem(404, "not_found")


def test_a_restriction_refuses_growth_and_never_touches_the_owner(api: Client, shop: Shop) -> None:
    """C8: the grace is over."""
    commerce(shop)
    check_organization(shop.services, "org_1", trigger="evt_1")
    (review,) = api.get("/reviews").ok()["data"]
    path = "/organizations/org_1/members"
    api.post(path, id="rae", role="sales_rep", seat_type="sales_rep").ok()
    api.post(f"{path}/rae/accept").ok()
    with shop.services.sessions.begin() as session:
        ended = shop.services.clock() - timedelta(minutes=1)
        reviews.write(session, review["id"], grace_ends_at=ended)
    tick(shop.services, review["id"])
    refused = api.post(f"{path}/rae/activate").problem(409, "organization_restricted")
    assert refused["remedies"]
    api.post(path, id="sam", role="sales_rep", seat_type="sales_rep").problem(
        409, "organization_restricted"
    )
    # The Owner takes no seat, and nobody who is active loses one.
    api.post(path, id="olive", role="owner").ok()
    api.post(f"{path}/olive/accept").ok()
    api.post(f"{path}/olive/activate").ok()
    active = {s["seat_type"]: s["active"] for s in api.get("/organizations/org_1").ok()["seats"]}
    assert active == {"admin": 8, "sales_rep": 0}
    assert [o["id"] for o in api.get("/organizations", restricted="true").ok()["data"]] == ["org_1"]
    api.post(f"/reviews/{review['id']}/close", because="they signed").ok()
    api.post(f"{path}/rae/activate").ok()
