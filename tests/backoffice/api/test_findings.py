"""Findings over HTTP: read by whoever may read, closed by whoever may operate."""

from reconcile.policy.values import CLOSED_BY_HAND, FindingKind
from reconcile.store import findings
from reconcile.store.findings import INSTALLATION, Scope
from tests.support.api import Client, a_token
from tests.support.operating import audited, found_differing
from tests.support.shop import Shop

WHY = {"because": "credited in in_9"}


def test_the_finding_of_an_invoice_is_closed_on_record(api: Client, shop: Shop) -> None:
    shop.organization(voice=1)
    first, second = (found_differing(shop.services, adjustment=f"adj_{n}") for n in (1, 2))
    opened = api.get("/findings", state="open").ok()["data"]
    assert [each["subject"] for each in opened] == ["sub_1/adj_2", "sub_1/adj_1"]
    api.post(f"/findings/{first}/close").problem(422, "invalid")

    closed = api.post(f"/findings/{first}/close", WHY, key="once").ok()
    assert (closed["id"], closed["closed_at"] is None) == (first, False)
    repeated = api.post(f"/findings/{first}/close", WHY, key="once").ok()
    assert repeated.json == closed.json
    api.post(f"/findings/{first}/close", WHY).problem(409, "finding_closed")
    assert api.get("/findings", state="open").ok()["data"][0]["id"] == second

    (entry,) = audited(shop.services, "finding.closed")
    assert entry.actor.startswith("token:tok_")
    assert (entry.subject, entry.because) == (f"finding:{first}", WHY["because"])
    told = api.get("/audit", subject=f"finding:{first}").ok()["data"]
    assert [each["because"] for each in told] == [WHY["because"]]


def test_what_a_run_closes_is_refused_with_what_closes_it(api: Client, shop: Shop) -> None:
    shop.organization(voice=1)
    for kind in set(FindingKind) - CLOSED_BY_HAND:
        number = found_differing(shop.services, kind=kind, adjustment=None)
        said = api.post(f"/findings/{number}/close", WHY).problem(409, "closes_by_itself")
        assert kind in said["detail"]
        assert f"remove its cause: docs/runbook.md#{kind}" in said["remedies"]
        assert "trueup reconcile sub_1 --explain" in said["remedies"]
    with shop.services.sessions() as session:
        left = findings.open_of(session, Scope(organization_id="org_1", subscription_id="sub_1"))
    assert len(left) == len(FindingKind) - len(CLOSED_BY_HAND)
    assert not audited(shop.services, "finding.closed")

    number = found_differing(shop.services, kind=FindingKind.ROSTER_UNREADABLE,
                             scope=INSTALLATION, adjustment=None)  # fmt: skip
    said = api.post(f"/findings/{number}/close", WHY).problem(409, "closes_by_itself")
    assert "trueup doctor" in said["remedies"]


def test_closing_needs_its_scope_and_its_organization(api: Client, shop: Shop) -> None:
    for name in ("org_1", "org_2"):
        shop.organization(name, voice=1)
    number = found_differing(shop.services, adjustment="adj_1")
    reader = api.with_token(a_token(shop.services, "read", "members", "billing"))
    reader.get(f"/findings/{number}").ok()
    reader.post(f"/findings/{number}/close", WHY).problem(403, "scope_missing")
    other = api.with_token(a_token(shop.services, organization_id="org_2"))
    other.post(f"/findings/{number}/close", WHY).problem(404, "not_found")
    api.post("/findings/999/close", WHY).problem(404, "not_found")
    assert api.get(f"/findings/{number}").ok()["closed_at"] is None
    api.with_token(a_token(shop.services, organization_id="org_1")).post(
        f"/findings/{number}/close", WHY
    ).ok()
