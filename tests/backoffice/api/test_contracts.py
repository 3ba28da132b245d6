"""Contracts over the API: recorded, changed by an account manager, trued up (A6, A7)."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from reconcile.settling.work import work_off
from reconcile.store import audit
from reconcile.tables import events, notices
from tests.support.api import Client, Reply, a_token, api_of
from tests.support.roster import add_member
from tests.support.shop import Shop

ORG = "/organizations/org_1"
START = 1_775_044_800
HOUR_S = 3600
TERMS: dict[str, Any] = {
    "kind": "monthly",
    "quantities": {"pro": 6},
    "starts_at": "2026-04-01T00:00:00Z",
    "ends_at": "2126-04-01T00:00:00Z",
    "because": "order 4711",
}


class Business:
    """A workspace with a contract of six Pro seats, five of them in use, on a test clock."""

    def __init__(self, shop: Shop, *, interval: str = "month", seats: int = 6) -> None:
        self.shop = shop
        self.api = api_of(shop.services)
        clock = shop.sandbox.post("/v1/test_helpers/test_clocks", {"frozen_time": START})
        self.clock = str(clock["id"])
        customer = shop.organization(plan="workspace_business", pro=5, test_clock=self.clock)
        self.sub = shop.subscribe(
            customer, {"pro": seats}, plan="workspace_business", interval=interval
        )
        shop.settle(self.sub)

    def period_end(self) -> int:
        """When the billing period ends."""
        items = self.shop.sandbox.get(f"/v1/subscriptions/{self.sub}")["items"]["data"]
        return int(items[0]["current_period_end"])

    def at(self, epoch_s: int) -> None:
        """Let time pass."""
        path = f"/v1/test_helpers/test_clocks/{self.clock}/advance"
        self.shop.sandbox.post(path, {"frozen_time": epoch_s})

    def in_its_hour(self) -> None:
        """A worker takes what waits for this hour."""
        with self.shop.services.sessions.begin() as session:
            waiting = events.c.state == "pending"
            session.execute(update(events).where(waiting).values(due_at=func.now()))
        work_off(self.shop.services, f"sub:{self.sub}")

    def record(self, **terms: Any) -> Reply:
        """An account manager records the contract."""
        return self.api.put(f"{ORG}/contract", **(TERMS | terms))

    def ask(self, pro: int, because: str = "order 4712") -> Reply:
        """Preview a change of it."""
        path = f"{ORG}/contract/changes/preview"
        return self.api.post(path, quantities={"pro": pro}, because=because)

    def approve(self, seen: Reply) -> Reply:
        """Approve it as it was shown."""
        return self.api.post(f"{ORG}/contract/changes", preview_id=seen["id"], because="Eve Moss")


@pytest.fixture
def business(shop: Shop) -> Business:
    """Business under a monthly contract that is on record."""
    found = Business(shop)
    found.record().ok(200)
    return found


def test_customers_do_not_change_a_contract(business: Business) -> None:
    """A6: neither a member, nor a token that may bill, nor what an account manager was shown."""
    api, path = business.api, f"{ORG}/seat-changes/preview"
    refused = api.post(path, quantities={"pro": 8}).problem(409, "contract")
    assert refused["detail"] == "Seat changes are processed through your account manager"
    with business.shop.services.sessions.begin() as session:
        add_member(session, "org_1", "ada", role="admin", seat_type="pro")
    api.post(path, quantities={"pro": 8}, acting_member_id="ada").problem(409, "contract")
    seen = business.ask(8).ok(201)
    api.post(f"{ORG}/seat-changes", preview_id=seen["id"]).problem(404, "not_found")
    billing = api.with_token(a_token(business.shop.services, "read", "members", "billing"))
    billing.post(f"{ORG}/contract/changes", preview_id=seen["id"]).problem(403, "scope_missing")
    billing.get(f"{ORG}/contract").problem(403, "scope_missing")
    billing.get(f"{ORG}/previews/{seen['id']}").problem(403, "scope_missing")
    assert api.get(f"{ORG}/previews/{seen['id']}").ok(200)["words"] == seen["words"]
    assert business.shop.writes(business.sub) == 0


def test_a_monthly_change_starts_with_the_next_cycle(business: Business) -> None:
    """A6: nothing is billed now, the renewal is of what was approved, and the contract says so."""
    shop = business.shop
    seen = business.ask(8).ok(201)
    assert "nothing is billed now" in seen["words"]
    done = business.approve(seen).ok(201)
    assert done["at_renewal"] is not None
    again = business.approve(seen).ok(201)
    assert again.json == done.json
    standing = business.api.get(f"{ORG}/contract").ok(200)
    assert standing["quantities"] == {"pro": 6}
    assert standing["approved"]["quantities"] == {"pro": 8}
    assert "order 4712" in standing["approved"]["approved"]
    shop.settle(business.sub)
    assert shop.quantities(business.sub) == {"pro": 6}

    end = business.period_end()
    business.at(end - HOUR_S // 2)
    business.in_its_hour()
    business.at(end + 2 * HOUR_S)
    assert shop.invoices(business.sub, "subscription_cycle")[-1]["total"] == 8 * 12900
    standing = business.api.get(f"{ORG}/contract").ok(200)
    assert (standing["quantities"], standing["approved"]) == ({"pro": 8}, None)
    assert standing["adjustment_id"] is not None
    with shop.services.sessions() as session:
        entries = audit.page(session, organization_id="org_1")
    assert [entry.action for entry in reversed(entries)] == [
        "contract.recorded",
        "contract.change_approved",
        "seats.changed",
    ]
    assert {entry.token_id is not None for entry in entries} == {True}
    history = business.api.get(f"{ORG}/contract/history").ok(200)["data"]
    assert [row["quantities"] for row in history] == [{"pro": 8}, {"pro": 6}]


def test_an_approved_change_is_withdrawn_before_it_is_applied(business: Business) -> None:
    """A6: nothing is left of it at the renewal but the record of who took it back."""
    shop, path = business.shop, f"{ORG}/contract/changes/withdraw"
    business.api.post(path, because="no order").problem(409, "nothing_waits")
    seen = business.ask(8).ok(201)
    business.approve(seen).ok(201)
    billing = business.api.with_token(a_token(shop.services, "read", "members", "billing"))
    billing.post(path, because="not mine to say").problem(403, "scope_missing")
    business.api.post(path).problem(422, "invalid")
    gone = business.api.post(path, because="Eve Moss: order cancelled").ok(200)
    assert gone["quantities"] == {"pro": 8}
    assert "order 4712" in gone["approved"]
    assert business.api.get(f"{ORG}/contract").ok(200)["approved"] is None
    business.api.post(path, because="once more").problem(409, "nothing_waits")
    with shop.services.sessions() as session:
        entry = audit.page(session, organization_id="org_1", limit=1)[0]
    assert (entry.action, entry.because) == (
        "contract.change_withdrawn",
        "Eve Moss: order cancelled",
    )
    assert entry.before is not None
    assert entry.before["seats"] == {"pro": 8}

    end = business.period_end()
    business.at(end - HOUR_S // 2)
    business.in_its_hour()
    shop.settle(business.sub)
    business.at(end + 2 * HOUR_S)
    assert shop.invoices(business.sub, "subscription_cycle")[-1]["total"] == 6 * 12900
    assert shop.writes(business.sub) == 0
    seen = business.ask(7).ok(201)
    business.approve(seen).ok(201)
    assert business.api.get(f"{ORG}/contract")["approved"]["quantities"] == {"pro": 7}


def test_of_two_approved_changes_the_later_one_counts_though_it_does_not_wait(
    business: Business,
) -> None:
    """A6: what waited is not applied over it at the renewal, which would take paid seats away."""
    shop = business.shop
    business.approve(business.ask(8).ok(201)).ok(201)
    business.record(kind="annual_upfront").ok(200)
    business.approve(business.ask(10).ok(201)).ok(201)
    assert business.api.get(f"{ORG}/contract").ok(200)["approved"] is None
    business.at(business.period_end() - HOUR_S // 2)
    business.in_its_hour()
    assert shop.quantities(business.sub) == {"pro": 10}


def test_a_withdrawn_change_that_is_forced_to_rerun_changes_nothing(business: Business) -> None:
    shop = business.shop
    business.approve(business.ask(8).ok(201)).ok(201)
    business.api.post(f"{ORG}/contract/changes/withdraw", because="no order").ok(200)
    business.at(business.period_end() - HOUR_S // 2)
    with shop.services.sessions.begin() as session:
        session.execute(
            update(events)
            .where(events.c.type == "trueup.renewal.approved")
            .values(state="pending", finished_at=None, due_at=func.now())
        )
    business.in_its_hour()
    assert shop.quantities(business.sub) == {"pro": 6}
    assert shop.writes(business.sub) == 0


def test_a_change_that_was_applied_by_one_who_died_is_not_withdrawn(business: Business) -> None:
    """Its request still waits for the next worker; what is done is done."""
    shop = business.shop
    business.approve(business.ask(8).ok(201)).ok(201)
    business.at(business.period_end() - HOUR_S // 2)
    shop.settle(business.sub)
    assert shop.quantities(business.sub) == {"pro": 8}
    path = f"{ORG}/contract/changes/withdraw"
    business.api.post(path, because="too late").problem(409, "nothing_waits")
    assert business.api.get(f"{ORG}/contract").ok(200)["quantities"] == {"pro": 8}


def test_an_annual_contract_is_prorated_for_the_rest_of_its_year(shop: Shop) -> None:
    """A6: at once, and as it was shown; the contract says it from then on."""
    business = Business(shop, interval="year")
    business.record(kind="annual_upfront").ok(200)
    business.at((START + business.period_end()) // 2)
    seen = business.ask(8).ok(201)
    assert abs(seen["total_minor"] - 2 * 139320 // 2) <= 2
    done = business.approve(seen).ok(201)
    assert done["total_minor"] == seen["total_minor"]
    assert shop.quantities(business.sub) == {"pro": 8}
    assert business.api.get(f"{ORG}/contract").ok(200)["quantities"] == {"pro": 8}
    shop.settle(business.sub)
    assert shop.findings(business.sub) == set()


def test_the_kind_of_the_contract_goes_before_the_plans(shop: Shop) -> None:
    """The plan says annual upfront; this organization's contract is monthly."""
    business = Business(shop)
    assert business.ask(8).ok(201)["charged_now"]
    business.record(kind="monthly").ok(200)
    assert business.ask(8).ok(201)["at_renewal"] is not None


def test_a_removal_needs_the_recorded_decision(business: Business) -> None:
    """A7: not decided and decided against are both a no; the decision is kept with who and why."""
    business.ask(5).problem(409, "contract_removal")
    no = {"allowed": False, "because": "two years are agreed"}
    business.record(removals=no).ok(200)
    business.ask(5).problem(409, "contract_removal")
    yes = {"allowed": True, "because": "the team was sold"}
    kept = business.record(removals=yes).ok(200)["removals"]
    assert (kept["allowed"], kept["because"]) == (True, "the team was sold")
    assert kept["by"].startswith("token:")
    seen = business.ask(5).ok(201)
    business.approve(seen).ok(201)
    history = business.api.get(f"{ORG}/contract/history", limit=2).ok(200)
    assert [row["removals"] and row["removals"]["allowed"] for row in history["data"]] == [
        True,
        False,
    ]
    older = business.api.get(f"{ORG}/contract/history", cursor=history["next_cursor"]).ok(200)
    assert [row["removals"] for row in older["data"]] == [None]


def test_no_run_makes_stripe_agree_with_a_contract(business: Business) -> None:
    """The nightly run reports the difference; only an approved change is ever written."""
    business.record(quantities={"pro": 9}).ok(200)
    for _ in range(2):
        business.shop.settle(business.sub)
    assert business.shop.quantities(business.sub) == {"pro": 6}
    assert business.shop.writes(business.sub) == 0
    assert business.shop.findings(business.sub) == {"contract_drift"}
    business.record(quantities={"pro": 6}).ok(200)
    business.shop.settle(business.sub)
    assert business.shop.findings(business.sub) == set()


def test_a_contract_on_record_is_what_is_bought_when_the_subscription_comes(shop: Shop) -> None:
    customer = shop.organization(plan="workspace_business", pro=5)
    api = api_of(shop.services)
    api.put(f"{ORG}/contract", **(TERMS | {"quantities": {"pro": 7}})).ok(200)
    sub = shop.subscribe(customer, {"pro": 6}, plan="workspace_business")
    shop.settle(sub)
    assert shop.seats(sub)["pro"].quantity == 7
    shop.settle(sub)
    assert shop.findings(sub) == {"contract_drift"}


def test_a_contracts_end_is_told_ahead_of_it_and_when_it_is_over(business: Business) -> None:
    """A6: each once, by looks that are planned with the contract; a new contract ends them."""
    shop = business.shop
    now = shop.services.clock()
    end = now + timedelta(days=90)
    business.record(ends_at=end.isoformat()).ok(200)

    def by(moment: datetime) -> tuple[set[str], list[str]]:
        """What stands when a worker has done, at that time, what was due by then."""
        later = shop.at(moment)
        with shop.services.sessions.begin() as session:
            due = (events.c.state == "pending") & (events.c.due_at <= moment)
            session.execute(update(events).where(due).values(due_at=func.now()))
        work_off(later.services, "org:org_1")
        with shop.services.sessions() as session:
            told = select(notices.c.summary).where(notices.c.type == "contract.ending")
            lines = list(session.scalars(told.order_by(notices.c.created_at)))
        return shop.findings(None), lines

    assert by(now) == (set(), [])
    assert by(now + timedelta(days=29)) == (set(), [])
    found, told = by(now + timedelta(days=31))
    assert found == {"contract_ending"}
    assert told == [
        f"The contract ends on {end:%Y-%m-%d}, in 59 days: record what is agreed from then on."
    ]
    assert by(now + timedelta(days=40)) == (found, told)
    found, told = by(end + timedelta(hours=1))
    assert found == {"contract_ended"}
    assert [line[:18] for line in told] == ["The contract ends ", "The contract ended"]
    business.record(ends_at=(end + timedelta(days=365)).isoformat()).ok(200)
    assert by(end + timedelta(hours=2)) == (set(), told)
    assert shop.writes(business.sub) == 0


def test_overage_is_trued_up_and_a_change_is_proposed_at_the_renewal(business: Business) -> None:
    """The highest count of the period, once; not silence, and never a write."""
    shop = business.shop
    for active in (8, 9, 7):
        shop.activate("org_1", "pro", active)
        shop.settle(business.sub)
    end = business.period_end()
    business.at(end + 2 * HOUR_S)
    shop.activate("org_1", "pro", 6)
    for _ in range(2):
        shop.settle(business.sub)
    (row,) = business.api.get(f"{ORG}/contract/true-up").ok(200)["data"]
    assert (row["agreed"], row["peak"], row["over"]) == (6, 9, 3)
    assert (row["amount_minor"], row["currency"]) == (3 * 12900, "usd")
    with shop.services.sessions() as session:
        told = session.execute(
            select(notices).where(notices.c.type == "contract.change_needed")
        ).all()
    assert len(told) == 1
    assert told[0].audience == "account_manager"
    assert (told[0].data["proposed"], told[0].data["amount_minor"]) == (9, 3 * 12900)
    assert shop.writes(business.sub) == 0


@pytest.mark.parametrize(
    ("terms", "status", "code"),
    [
        ({"quantities": {"base": 6}}, 409, "unknown_seat_type"),
        ({"quantities": {"pro": 2}}, 409, "below_minimum"),
        ({"quantities": {}}, 409, "below_minimum"),
        ({"ends_at": "2026-03-01T00:00:00Z"}, 422, "invalid"),
        ({"starts_at": "2026-04-01T00:00:00"}, 422, "invalid"),
        ({"starts_at": "0001-01-01T00:00:00+14:00"}, 422, "invalid"),
        ({"ends_at": "9999-12-31T23:59:59-12:00"}, 422, "invalid"),
        ({"because": None}, 422, "invalid"),
        ({"kind": "weekly"}, 422, "invalid"),
    ],
)
def test_what_cannot_be_agreed(
    business: Business, terms: dict[str, Any], status: int, code: str
) -> None:
    business.record(**terms).problem(status, code)
    assert business.api.get(f"{ORG}/contract").ok(200)["quantities"] == {"pro": 6}


def test_other_plans_have_no_contract(shop: Shop, api: Client) -> None:
    shop.organization(base=1)
    api.put(f"{ORG}/contract", **TERMS).problem(409, "not_a_contract")
    api.get(f"{ORG}/contract").problem(404, "not_found")
    api.put("/organizations/org_9/contract", **TERMS).problem(404, "not_found")
    api.get("/organizations/org_9/contract/true-up").problem(404, "not_found")
