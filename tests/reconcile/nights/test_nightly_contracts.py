"""The night looks at contracts that end soon, whoever forgot to plan a look at them (A6)."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta

import pytest

from reconcile.actor import Actor
from reconcile.nights import nightly
from reconcile.policy.values import SeatPolicy
from reconcile.settings import Settings
from reconcile.store import contracts
from tests.support.sandbox import Sandbox
from tests.support.shop import Shop, opened_shop


@pytest.fixture
def shop(settings: Settings, sandbox: Sandbox) -> Iterator[Shop]:
    with opened_shop(settings, sandbox) as opened:
        yield opened


def agreed(shop: Shop, organization_id: str, ends_at: datetime | None, **quantities: int) -> None:
    """Put a contract on record and plan nothing, as one imported from elsewhere."""
    with shop.services.sessions.begin() as session:
        contracts.record(
            session,
            organization_id,
            Actor("cli:tests"),
            kind="monthly",
            quantities=quantities or {"pro": 6},
            starts_at=shop.services.clock() - timedelta(days=300),
            ends_at=ends_at,
            removals=None,
            because="order 4711",
        )


def test_a_contract_that_ends_soon_is_told_by_the_night(shop: Shop) -> None:
    now = shop.services.clock()
    ends = {
        "far": now + timedelta(days=61),
        "near": now + timedelta(days=59),
        "over": now - timedelta(days=1),
        "open": None,
        "renewed": now + timedelta(days=5),
        "left": now + timedelta(days=5),
    }
    for name, end in ends.items():
        shop.organization(name, plan="agency" if name == "left" else "workspace_business")
        agreed(shop, name, end)
    agreed(shop, "renewed", now + timedelta(days=400))
    report = nightly.run(shop.services, date(2026, 3, 1), writes=False)
    assert (report.state, report.differing) == ("done", {"contract ends": 2})
    found = {name: shop.findings(None, name) for name in ends}
    assert {name: kinds for name, kinds in found.items() if kinds} == {
        "near": {"contract_ending"},
        "over": {"contract_ended"},
    }


def test_a_kind_of_seats_that_was_agreed_and_never_added_is_told_by_the_night(shop: Shop) -> None:
    """Nothing else looks at it: no event comes, and there is no item to compare."""
    contracted = shop.with_plan("agency", policy=SeatPolicy.CONTRACT, contract_kind="monthly")
    customer = contracted.organization(base=3)
    sub = contracted.subscribe(customer, {"base": 5})
    contracted.settle(sub)
    agreed(contracted, "org_1", None, base=5)
    report = nightly.run(contracted.services, date(2026, 3, 1), writes=True)
    assert report.differing == {}
    agreed(contracted, "org_1", None, base=5, voice=2)
    report = nightly.run(contracted.services, date(2026, 3, 2), writes=True)
    assert report.differing == {"agreed seats": 1}
    assert contracted.findings(sub) == {"contract_drift"}
