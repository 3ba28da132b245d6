"""Members for whom no seat is billed: told by sets, once, whatever else the customer buys."""

from collections.abc import Iterator
from datetime import date

import pytest
from sqlalchemy import update

from reconcile.nights import nightly
from reconcile.settings import Settings
from reconcile.tables import organizations
from tests.support.sandbox import Sandbox
from tests.support.shop import Shop, opened_shop

UNSEATED = "active_without_subscription"


@pytest.fixture
def shop(settings: Settings, sandbox: Sandbox) -> Iterator[Shop]:
    with opened_shop(settings, sandbox) as opened:
        yield opened


def nights(shop: Shop, count: int = 1, first: int = 1) -> list[int]:
    """How many organizations each of these nights found without seats."""
    days = [date(2026, 3, first + number) for number in range(count)]
    return [nightly.run(shop.services, day, writes=True).bereft for day in days]


def test_members_without_any_subscription(shop: Shop, sandbox: Sandbox) -> None:
    shop.organization("org_1", voice=2)
    before = len(sandbox.observe("/calls")["calls"])
    report = nightly.run(shop.services, date(2026, 3, 1), writes=True)
    assert len(sandbox.observe("/calls")["calls"]) - before == 1
    assert (report.bereft, report.findings_opened) == (1, 1)
    assert shop.findings(None) == {UNSEATED}
    shop.activate("org_1", "voice", 0)
    closing = nightly.run(shop.services, date(2026, 3, 2), writes=True)
    assert (closing.bereft, closing.findings_closed) == (0, 1)
    assert shop.findings(None) == set()


@pytest.mark.parametrize("recorded", [False, True])
def test_what_a_customer_buys_beside_seats_has_none(shop: Shop, recorded: bool) -> None:
    """Nobody heard of the members. It is recorded where a plan included its seats before."""
    customer = shop.organization(plan="workspace_starter" if recorded else "agency")
    form = {"customer": customer, "items[0][price]": shop.stickers()}
    shop.settle(str(shop.sandbox.post("/v1/subscriptions", form)["id"]))
    with shop.services.sessions.begin() as session:
        session.execute(update(organizations).values(plan="agency"))
    shop.activate("org_1", "voice", 2)
    assert nights(shop, 2) == [1, 1]
    assert shop.findings(None) == {UNSEATED}
    shop.subscribe(customer, {"voice": 2})
    assert nights(shop, 2, first=3) == [0, 0]
    assert shop.findings(None) == set()


def test_seats_whose_item_is_missing_are_told_as_that(shop: Shop) -> None:
    customer = shop.organization(voice=2)
    sub = shop.subscribe(customer, {"voice": 2}, organization_id="")
    shop.settle(sub)
    shop.sandbox.post(f"/v1/subscriptions/{sub}", {"items[0][price]": shop.stickers()})
    shop.take_out(sub, "voice")
    shop.settle(sub)
    assert "item_missing" in shop.findings(sub)
    assert nights(shop, 2) == [0, 0]
    assert shop.findings(None) == set()
