"""Which findings and payments the host is told of, when, and how often."""

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from reconcile.policy.notices import NOTICES, notice_of
from reconcile.policy.values import FindingKind, Observation
from reconcile.settings import Settings
from reconcile.store import findings
from reconcile.store.findings import Scope
from reconcile.tables import events, notices
from tests.support.sandbox import Sandbox
from tests.support.shop import Shop, opened_shop

HOUR_S = 3_600


@pytest.fixture
def shop(settings: Settings, sandbox: Sandbox) -> Iterator[Shop]:
    with opened_shop(settings, sandbox) as opened:
        yield opened


def told(shop: Shop) -> list[tuple[str, str | None, dict[str, object]]]:
    with shop.services.sessions() as session:
        rows = session.execute(select(notices).order_by(notices.c.created_at, notices.c.id))
        return [(row.type, row.audience, row.data) for row in rows]


def an_observation(kind: FindingKind, **values: object) -> Observation:
    return Observation(kind=kind, summary="Something is wrong.", **values)  # type: ignore[arg-type]  # given by name


@pytest.mark.parametrize(
    ("observation", "type_"),
    [
        (an_observation(FindingKind.STRIPE_BELOW_FLOOR, urgent=True), "drift.found"),
        (an_observation(FindingKind.CONTRACT_DRIFT, notify="account_manager"), "drift.found"),
        (an_observation(FindingKind.STRIPE_QUANTITY_CHANGED), None),
        (an_observation(FindingKind.PAYMENT_DECLINED, urgent=True), "payment.failed"),
        (an_observation(FindingKind.OVER_HARD_CAP, notify="owner"), None),
    ],
)
def test_urgent_findings_and_those_for_somebody_are_told(
    observation: Observation, type_: str | None
) -> None:
    assert notice_of(observation) == type_


def test_a_drift_is_told_when_it_is_found_and_not_while_it_lasts(shop: Shop) -> None:
    customer = shop.organization(voice=5)
    subscription = shop.subscribe(customer, {"voice": 5})
    shop.settle(subscription)
    reporting = shop.with_plan("agency", raises_below_floor=False)
    reporting.edit(subscription, "voice", 4, proration_behavior="none")
    for _ in range(3):
        reporting.settle(subscription)
    ((type_, audience, data),) = told(shop)
    assert (type_, audience) == ("drift.found", "host")
    assert data["finding"] == "stripe_below_floor"
    assert data["about"] == f"{subscription}/voice"
    assert (data["seat_type"], data["urgent"]) == ("voice", True)
    # Gone and back: that is another one.
    reporting.edit(subscription, "voice", 5, proration_behavior="none")
    reporting.settle(subscription)
    reporting.edit(subscription, "voice", 4, proration_behavior="none")
    reporting.settle(subscription)
    assert [name for name, _, _ in told(shop)] == ["drift.found"] * 2


def test_the_notice_and_its_delivery_are_there_with_the_finding_or_not_at_all(shop: Shop) -> None:
    shop.organization()
    observation = an_observation(FindingKind.STRIPE_BELOW_FLOOR, urgent=True)
    with shop.services.sessions() as session:
        findings.observe(
            session,
            Scope(organization_id="org_1"),
            observation,
            at=shop.services.clock(),
            opened_by="evt_1",
        )
        session.rollback()
    assert told(shop) == []
    with shop.services.sessions.begin() as session:
        findings.observe(
            session,
            Scope(organization_id="org_1"),
            observation,
            at=shop.services.clock(),
            opened_by="evt_1",
        )
    with shop.services.sessions() as session:
        row = session.execute(select(notices)).one()
        request = session.execute(select(events).where(events.c.id == row.request_id)).one()
    assert request.work_key == f"notice:{row.id}"
    assert request.state == "pending"


def test_a_declined_raise_is_told_to_the_payer(shop: Shop) -> None:
    customer = shop.organization(plan="team", member=2)
    subscription = shop.subscribe(customer, {"member": 2}, plan="team")
    shop.settle(subscription)
    shop.activate("org_1", "member", 3)
    shop.sandbox.control("/declines", {"customer": customer, "code": "card_declined"})
    shop.settle(subscription)
    declined = [(audience, data) for type_, audience, data in told(shop) if "payment" in type_]
    ((audience, data),) = declined
    assert audience == "payer"
    assert data["subscription_id"] == subscription
    assert data["code"] == "card_declined"


def test_an_unpaid_renewal_is_told_to_the_payer_once(shop: Shop) -> None:
    made = shop.sandbox.post("/v1/test_helpers/test_clocks", {"frozen_time": 1_775_030_400})
    customer = shop.organization(voice=5, test_clock=str(made["id"]))
    subscription = shop.subscribe(customer, {"voice": 5})
    shop.settle(subscription)
    shop.sandbox.control("/declines", {"customer": customer, "code": "card_declined"})
    found = shop.sandbox.get(f"/v1/subscriptions/{subscription}")
    renewal = int(found["items"]["data"][0]["current_period_end"])
    path = f"/v1/test_helpers/test_clocks/{made['id']}/advance"
    shop.sandbox.post(path, {"frozen_time": renewal + 2 * HOUR_S})
    for _ in range(3):
        shop.settle(subscription)
    unpaid = [(audience, data) for type_, audience, data in told(shop) if "payment" in type_]
    ((audience, data),) = unpaid
    assert audience == "payer"
    assert data == {
        "subscription_id": subscription,
        "invoice_id": shop.invoices(subscription)[-1]["id"],
        "status": "past_due",
    }


def test_every_type_has_words_and_no_field_of_the_envelope() -> None:
    envelope = {"notice_id", "organization_id", "audience", "summary"}
    for kind in NOTICES.values():
        assert kind.tells.endswith(".")
        assert kind.audience in {"owner", "payer", "account_manager", "host"}
        assert not envelope & set(kind.data)
        assert not {"email", "name"} & set(kind.data)
