"""The end-checks hold on an honest shop, and each turns red for what it is there to find."""

import pytest
from sqlalchemy import text

from reconcile.nights import checks
from reconcile.nights.checks import Check
from reconcile.store import inbox
from tests.support.shop import Shop


@pytest.fixture
def sub(shop: Shop) -> str:
    """A subscription that was raised once."""
    customer = shop.organization(plan="team", member=3)
    sub = shop.subscribe(customer, {"member": 3}, plan="team")
    shop.settle(sub)
    shop.activate("org_1", "member", 5)
    shop.settle(sub)
    return sub


def found(shop: Shop, name: str) -> Check:
    """The check whose name has this in it."""
    (one,) = [check for check in checks.run(shop.services) if name in check.name]
    return one


def change(shop: Shop, sql: str, **values: object) -> None:
    """Falsify what is recorded."""
    with shop.services.sessions.begin() as session:
        session.execute(text(sql), values)


def test_an_honest_shop_passes_all_but_the_events_nobody_delivered(shop: Shop, sub: str) -> None:
    results = checks.run(shop.services)
    assert [check.name for check in results if not check.ok] == ["every event accounted for"]
    assert "not in the inbox (evt_" in results[0].detail


def test_a_charge_without_its_adjustment(shop: Shop, sub: str) -> None:
    change(shop, "delete from ledger_lines")
    change(shop, "delete from adjustments")
    assert not found(shop, "exactly once").ok


def test_an_adjustment_without_its_charge(shop: Shop, sub: str) -> None:
    change(
        shop,
        "update adjustments set proration_date = proration_date - interval '1 hour'",
    )
    assert not found(shop, "exactly once").ok


def second(shop: Shop, sub: str) -> int:
    """The second from which the subscription's raise is charged."""
    (raised,) = shop.adjustments(sub)
    assert raised.proration_date is not None
    return int(raised.proration_date.timestamp())


def test_an_edit_of_the_same_second_that_is_billed_with_our_trace(shop: Shop, sub: str) -> None:
    """Stripe copies the trace to the next invoice, and that credits what the raise charged."""
    dated = {"proration_behavior": "create_prorations", "proration_date": second(shop, sub)}
    shop.edit(sub, "member", 4, **dated)
    shop.edit(sub, "member", 6, proration_behavior="always_invoice")
    ours, theirs = shop.invoices(sub, "subscription_update")
    assert theirs["parent"] == ours["parent"]
    assert found(shop, "exactly once").ok


def test_a_charge_that_was_made_twice(shop: Shop, sub: str) -> None:
    """What a lost idempotency key would do: somebody took the seats back, and ours came again."""
    (raised,) = shop.adjustments(sub)
    again = {"proration_behavior": "always_invoice", "proration_date": second(shop, sub)}
    shop.edit(sub, "member", 3, proration_behavior="none")
    shop.edit(sub, "member", 5, **again, **{"metadata[trueup_adjustment]": raised.id})
    assert f"{raised.id} (applied) has 2 invoices" in found(shop, "exactly once").detail


def test_a_charge_of_an_adjustment_that_is_not_here(shop: Shop, sub: str) -> None:
    trace = {"metadata[trueup_adjustment]": "adj_of_nobody"}
    shop.edit(sub, "member", 6, proration_behavior="always_invoice", **trace)
    assert "adj_of_nobody, which is not here" in found(shop, "exactly once").detail


def test_a_credit_that_stripe_has_twice(shop: Shop) -> None:
    shop = shop.with_plan("team", follow_lowers="now")
    customer = shop.organization(plan="team", member=5)
    sub = shop.subscribe(customer, {"member": 5}, plan="team")
    shop.settle(sub)
    shop.activate("org_1", "member", 3)
    shop.settle(sub)
    assert found(shop, "exactly once").ok
    change(shop, "delete from ledger_lines where amount_minor < 0")
    assert "2 lines in Stripe, 1 recorded" in found(shop, "exactly once").detail


def test_a_ledger_that_is_off_by_one_minor_unit(shop: Shop, sub: str) -> None:
    change(shop, "update ledger_lines set amount_minor = amount_minor + 1 where amount_minor > 0")
    check = found(shop, "ledger")
    assert not check.ok
    assert "here, Stripe" in check.detail


def test_a_ledger_line_that_is_missing(shop: Shop, sub: str) -> None:
    change(shop, "delete from ledger_lines where amount_minor > 0")
    assert not found(shop, "ledger").ok


def test_more_active_members_than_seats_in_stripe(shop: Shop, sub: str) -> None:
    shop.activate("org_1", "member", 6)
    check = found(shop, "floor")
    assert not check.ok
    assert "5 member in Stripe, 6 active" in check.detail


def test_a_line_that_billed_fewer_than_were_active(shop: Shop, sub: str) -> None:
    change(
        shop,
        """update adjustments set changes = jsonb_set(changes, '{0,active}', '6')""",
    )
    assert not found(shop, "floor").ok


def test_quantities_that_do_not_agree(shop: Shop, sub: str) -> None:
    shop.edit(sub, "member", 9)
    assert not found(shop, "agree").ok


def test_quantities_that_wait_for_a_count_to_be_believed(shop: Shop, sub: str) -> None:
    """All members are suddenly gone: nothing is concluded from it, and a person was told."""
    shop.activate("org_1", "member", 0)
    shop.edit(sub, "member", 9)
    shop.settle(sub)
    assert "counts_suddenly_zero" in shop.findings(sub)
    assert found(shop, "quantities").ok


def test_an_event_that_waits(shop: Shop, sub: str) -> None:
    with shop.services.sessions.begin() as session:
        inbox.add_request(
            session,
            type="trueup.test",
            work_key=f"sub:{sub}",
            payload={},
            due_at=shop.services.clock(),
        )
    assert "1 due and not finished (tru_" in found(shop, "event").detail


def test_what_does_not_fit_on_a_page_is_looked_at_too(
    shop: Shop, sub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "PAGE", 1)
    monkeypatch.setattr(checks, "MOST_COUNTED", 1)
    customer = shop.organization("org_2", plan="team", member=2)
    other = shop.subscribe(customer, {"member": 2}, plan="team")
    shop.settle(other)
    for each in (sub, other):
        shop.edit(each, "member", 9)
    check = found(shop, "agree")
    assert {problem.split(":")[0] for problem in check.problems} == {sub, other}
    with shop.services.sessions.begin() as session:
        for number in range(3):
            inbox.add_request(
                session,
                type="trueup.test",
                work_key=f"sub:{number}",
                payload={},
                due_at=shop.services.clock(),
            )
    assert "more than 1 due and not finished (tru_" in found(shop, "event").detail
