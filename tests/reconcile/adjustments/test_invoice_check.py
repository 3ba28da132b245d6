"""The invoice after the fact: equal to the preview, close to the model, and a finding when not."""

from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from reconcile.adjustments import invoice_check
from reconcile.adjustments.money import written
from reconcile.catalog import Catalog
from reconcile.errors import OutcomeUnknown
from reconcile.nights import checks, nightly
from reconcile.operating import closing
from reconcile.policy.proration import PriceModel
from reconcile.policy.values import FindingKind, Observation
from reconcile.store import adjustments, findings, gauges
from reconcile.store.findings import Finding, Scope
from tests.support.charging import UPDATE
from tests.support.operating import KIM
from tests.support.shop import Shop, with_catalog


@pytest.fixture
def sub(shop: Shop) -> str:
    """A subscription whose next settling raises it from three to five."""
    customer = shop.organization(plan="team", member=3)
    sub = shop.subscribe(customer, {"member": 3}, plan="team")
    shop.settle(sub)
    shop.activate("org_1", "member", 5)
    return sub


def red(shop: Shop) -> set[str]:
    """The end-checks that fail, but for the events that these tests deliver to nobody."""
    failed = {check.name for check in checks.run(shop.services) if not check.ok}
    return failed - {"every event accounted for"}


@pytest.fixture
def off_by_one(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every preview says one minor unit more than will be charged."""
    real = shop.services.stripe.preview

    def preview(*args: object) -> object:
        found = real(*args)  # type: ignore[arg-type]
        return replace(found, total_minor=found.total_minor + 1)

    monkeypatch.setattr(shop.services.stripe, "preview", preview)


@pytest.mark.usefixtures("off_by_one")
def test_an_invoice_that_is_not_what_was_previewed(shop: Shop, sub: str) -> None:
    """money.preview."""
    shop.settle(sub)
    assert shop.findings(sub) == {"invoice_differs_from_preview"}
    assert red(shop) == {"every invoice as previewed and as the model expects"}


@pytest.mark.usefixtures("off_by_one")
def test_each_wrong_invoice_is_a_finding_until_somebody_closes_it(shop: Shop, sub: str) -> None:
    """The second is not hidden behind the first; one that is checked twice is one; nights close
    none of them; and one that is seen once more is told once more."""
    for active in (6, 7):
        shop.activate("org_1", "member", active)
        shop.settle(sub)
    first, second = shop.adjustments(sub)
    shop.settle(sub)
    nightly.run(shop.services, shop.services.clock().date())
    opened = differing(shop, sub)
    assert [each.subject for each in opened] == [f"{sub}/{first.id}", f"{sub}/{second.id}"]
    assert [each.detail["invoice"] for each in opened] == [first.invoice_id, second.invoice_id]
    with shop.services.engine.connect() as connection:
        counted = gauges.read(connection, hint_lease_s=60).findings
    assert counted == {"invoice_differs_from_preview": 2}
    invoice_check.check_later(shop.services, first)
    assert [each.id for each in differing(shop, sub)] == [each.id for each in opened]

    closed = closing.close(shop.services, opened[0].id, KIM)
    assert isinstance(closed, Finding)
    assert [each.id for each in differing(shop, sub)] == [opened[1].id]
    assert red(shop), "the other is still wrong"
    invoice_check.check_later(shop.services, first)
    again = differing(shop, sub)
    assert [each.subject for each in again] == [opened[1].subject, opened[0].subject]
    assert again[1].id not in {each.id for each in opened}


def differing(shop: Shop, sub: str) -> tuple[Finding, ...]:
    """The subscription's open findings, the oldest first."""
    with shop.services.sessions() as session:
        scope = Scope(organization_id="org_1", subscription_id=sub)
        return findings.open_of(session, scope)


def test_the_invoice_of_a_change_is_not_that_of_an_edit_in_the_same_second(
    shop: Shop, sub: str
) -> None:
    """Stripe's latest then has our trace and a line of our second, and is none of ours."""
    shop.settle(sub)
    (raised,) = shop.adjustments(sub)
    assert raised.proration_date is not None
    dated = int(raised.proration_date.timestamp())
    shop.edit(sub, "member", 4, proration_behavior="always_invoice", proration_date=dated)
    subscription = shop.services.stripe.subscription(sub)
    assert subscription.latest_invoice_id != raised.invoice_id
    invoice = invoice_check.find_invoice(shop.services.stripe, raised, subscription)
    assert invoice is not None
    assert invoice.id == raised.invoice_id


def test_an_invoice_that_is_not_what_the_model_expects(shop: Shop, sub: str) -> None:
    """The catalog says another amount than Stripe's price has."""
    catalog = shop.services.catalog
    plan = catalog.plan("team")
    dearer = tuple(replace(price, model=PriceModel(unit_minor=1600)) for price in plan.prices)
    other = Catalog({**catalog.plans, "team": replace(plan, prices=dearer)})
    replace(shop, services=with_catalog(shop.services, other)).settle(sub)
    assert shop.findings(sub) == {"invoice_differs_from_model"}
    assert shop.quantities(sub) == {"member": 5}


def test_a_credit_shows_as_a_credit(shop: Shop) -> None:
    """money.credit."""
    shop = shop.with_plan("team", follow_lowers="now")
    customer = shop.organization(plan="team", member=5)
    sub = shop.subscribe(customer, {"member": 5}, plan="team")
    shop.settle(sub)
    shop.activate("org_1", "member", 3)
    shop.settle(sub)
    (lowered,) = shop.adjustments(sub)
    assert lowered.proration_behavior == "create_prorations"
    assert lowered.preview is not None
    assert lowered.preview["total_minor"] < 0
    with shop.services.sessions() as session:
        ledger = adjustments.ledger_of(session, lowered.id)
    assert sum(line.amount_minor for line in ledger) == lowered.preview["total_minor"]
    assert {line.invoice_id for line in ledger} == {None}
    assert red(shop) == set()
    # The next charge takes the credit in: a signed total, and nothing is counted twice.
    shop.activate("org_1", "member", 6)
    shop.settle(sub)
    raised = shop.adjustments(sub)[1]
    (invoice,) = shop.invoices(sub, "subscription_update")
    assert raised.total_minor == invoice["total"]
    assert len(invoice["lines"]["data"]) == 4
    assert red(shop) == set()


def test_a_credit_that_was_billed_before_we_looked_is_in_the_ledger(shop: Shop) -> None:
    """money.credit; Stripe's answer was lost, and an edit had an invoice made at once."""
    shop = shop.with_plan("team", follow_lowers="now")
    customer = shop.organization(plan="team", member=5)
    sub = shop.subscribe(customer, {"member": 5}, plan="team")
    shop.settle(sub)
    shop.activate("org_1", "member", 3)
    shop.sandbox.control("/faults", {"kind": "server_error_after", **UPDATE})
    with pytest.raises(OutcomeUnknown):
        shop.settle(sub)
    shop.edit(sub, "member", 4, proration_behavior="always_invoice")
    shop.settle(sub)
    lowered = shop.adjustments(sub)[0]
    (invoice,) = shop.invoices(sub, "subscription_update")
    with shop.services.sessions() as session:
        ledger = adjustments.ledger_of(session, lowered.id)
    assert {(line.quantity, line.invoice_id) for line in ledger} == {
        (5, invoice["id"]),
        (3, invoice["id"]),
    }
    assert not shop.findings(sub)
    assert red(shop) == set()


def test_the_credit_of_an_edit_in_the_same_second_is_not_ours_as_well(shop: Shop) -> None:
    """Two seats were added with `none`: Stripe credits the three that were charged, and so it does
    for whoever edits the subscription right after us."""
    shop = shop.with_plan("team", follow_lowers="now")
    customer = shop.organization(plan="team", member=3)
    sub = shop.subscribe(customer, {"member": 3}, plan="team")
    shop.settle(sub)
    shop.edit(sub, "member", 5, proration_behavior="none")
    shop.sandbox.control("/faults", {"kind": "server_error_after", **UPDATE})
    with pytest.raises(OutcomeUnknown):
        shop.settle(sub)
    (lowered,) = shop.adjustments(sub)
    assert lowered.proration_date is not None
    dated = int(lowered.proration_date.timestamp())
    shop.edit(sub, "member", 4, proration_behavior="create_prorations", proration_date=dated)
    shop.activate("org_1", "member", 4)
    shop.settle(sub)
    with shop.services.sessions() as session:
        ledger = adjustments.ledger_of(session, lowered.id)
    assert sorted(line.amount_minor for line in ledger) == [-4500, 4500]
    assert not shop.findings(sub)


@pytest.fixture
def still(shop: Shop) -> tuple[Shop, str]:
    """Seats that are lowered at once, on a clock that stands still: five, of which three were
    charged, are four."""
    shop = shop.with_plan("team", follow_lowers="now")
    frozen = {"frozen_time": int(shop.services.clock().timestamp())}
    clock = shop.sandbox.post("/v1/test_helpers/test_clocks", frozen)["id"]
    customer = shop.organization(plan="team", test_clock=str(clock), member=3)
    sub = shop.subscribe(customer, {"member": 3}, plan="team")
    shop.settle(sub)
    shop.activate("org_1", "member", 4)
    shop.edit(sub, "member", 5, proration_behavior="none")
    shop.settle(sub)
    return shop, sub


def ledgers(shop: Shop, sub: str) -> list[list[tuple[int | None, int]]]:
    """Quantity and amount of each adjustment's ledger lines, credits first."""
    with shop.services.sessions() as session:
        found = [adjustments.ledger_of(session, each.id) for each in shop.adjustments(sub)]
    return [[(line.quantity, line.amount_minor) for line in lines] for lines in found]


def test_two_changes_of_one_second_have_their_own_lines(still: tuple[Shop, str]) -> None:
    """Somebody sets them back in between: what the first one charged is not the second one's, in
    its preview neither, and the credit of the second is not the first one's."""
    shop, sub = still
    shop.edit(sub, "member", 5, proration_behavior="create_prorations")
    shop.settle(sub)
    first, second = shop.adjustments(sub)
    assert first.proration_date == second.proration_date
    assert ledgers(shop, sub) == [[(3, -4500), (4, 6000)], [(5, -7500), (4, 6000)]]
    assert second.preview is not None
    assert second.preview["total_minor"] == -1500
    assert second.outcome is not None
    assert "credited USD 15.00 on the next invoice" in second.outcome
    shop.edit(sub, "member", 5, proration_behavior="none")
    shop.settle(sub)
    assert ledgers(shop, sub)[2] == [(4, -6000), (4, 6000)], "what was charged is credited"
    invoice_check.check_later(shop.services, second)
    assert not shop.findings(sub)
    assert red(shop) == set()


def test_a_charge_of_a_second_is_not_what_another_change_charged(still: tuple[Shop, str]) -> None:
    """Somebody takes one away and it is bought again: both of ours end at four seats."""
    shop, sub = still
    shop.edit(sub, "member", 3, proration_behavior="create_prorations")
    shop.settle(sub)
    first, second = shop.adjustments(sub)
    assert first.proration_date == second.proration_date
    assert second.invoice_id
    assert not shop.findings(sub)
    assert red(shop) == set()


def test_an_edit_after_a_change_of_the_same_second_is_no_second_one(
    still: tuple[Shop, str],
) -> None:
    """Each of two edits brings a line that the change could have brought, and neither brings all
    of them; one that does is told."""
    shop, sub = still
    for quantity in (5, 6):
        shop.edit(sub, "member", quantity, proration_behavior="create_prorations")
    assert red(shop) == {"quantities agree with Stripe"}
    for quantity in (5, 4):
        shop.edit(sub, "member", quantity, proration_behavior="create_prorations")
    assert red(shop) == {"every adjustment charged exactly once"}


def test_the_database_itself_allows_one_adjustment_in_flight(shop: Shop, sub: str) -> None:
    """money.one_in_flight."""
    shop.settle(sub)
    with shop.services.sessions() as session:
        session.execute(text("update adjustments set state = 'pending', finished_at = null"))
        copied = "insert into adjustments select (json_populate_record(null::adjustments, "
        copied += "jsonb_set(to_jsonb(a), '{id}', '\"adj_2\"')::json)).* from adjustments a"
        with pytest.raises(IntegrityError, match="uq_adjustments_in_flight"):
            session.execute(text(copied))


def test_the_peak_of_an_overage_is_kept_until_it_is_over(shop: Shop, sub: str) -> None:
    scope = Scope(organization_id="org_1", subscription_id=sub)
    for peak in (7, 9, 8):
        told = Observation(
            kind=FindingKind.CONTRACT_OVERAGE, summary=f"{peak}", detail={"peak": peak}
        )
        with shop.services.sessions.begin() as session:
            findings.observe(session, scope, told, at=shop.services.clock(), opened_by="test")
    with shop.services.sessions() as session:
        (found,) = findings.open_of(session, scope)
    assert (found.detail["peak"], found.summary) == (9, "8")


def test_a_raise_that_costs_nothing_says_what_it_is_the_sum_of(shop: Shop) -> None:
    """The lowering brought no credit, so the way back credits what was paid all along."""
    sub = shop.subscribe(shop.organization(voice=5), {"voice": 5})
    shop.settle(sub)
    shop.edit(sub, "voice", 3, proration_behavior="none")
    told = shop.settle(sub).line
    (invoice,) = shop.invoices(sub, "subscription_update")
    amounts = [line["amount"] for line in invoice["lines"]["data"]]
    paid = written(sum(each for each in amounts if each > 0), "usd")
    back = written(-sum(each for each in amounts if each < 0), "usd")
    assert f"({paid} for the seats, {back} credited for unused time) on in_" in told
    assert "\n" not in told


def test_a_raise_that_costs_something_says_that_only(shop: Shop, sub: str) -> None:
    assert "for the seats" not in shop.settle(sub).line
