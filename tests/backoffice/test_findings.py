"""`trueup findings close`, as the one who was woken by the alert meets it."""

import json
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result
from sqlalchemy.orm import Session

from backoffice.cli import trueup
from reconcile.nights import nightly
from reconcile.operating import closing
from reconcile.policy.values import FindingKind, Refuse
from reconcile.services import Services
from reconcile.settings import Settings
from reconcile.store import look
from reconcile.store.findings import Finding, Scope
from tests.support.operating import KIM, audited, found_differing
from tests.support.sandbox import Sandbox
from tests.support.services import environment
from tests.support.shop import Shop, opened_shop

WHY = ("--because", "credited in in_9")


@pytest.fixture
def shop(settings: Settings, sandbox: Sandbox) -> Iterator[Shop]:
    with opened_shop(settings, sandbox) as opened:
        opened.organization(voice=1)
        yield opened


@pytest.fixture
def services(shop: Shop) -> Services:
    return shop.services


@pytest.fixture
def run(settings: Settings) -> Callable[..., Result]:
    """Run `trueup` here, with this test's settings."""

    def invoke(*arguments: str) -> Result:
        env = environment(settings) | {"USER": "kim"}
        return CliRunner().invoke(trueup, list(arguments), env=env)

    return invoke


def test_an_invoice_that_was_looked_at_is_closed_by_its_number(
    run: Callable[..., Result], services: Services
) -> None:
    number = str(found_differing(services, adjustment="adj_1"))
    told = run("findings", "show", number).stdout
    assert "next: trueup adjustments show adj_1" in told
    assert f'next: trueup findings close {number} --because "..."' in told
    assert run("findings", "close", number).exit_code == 2, "it does not say why"
    assert run("findings", "close", "FINDING", *WHY).exit_code == 2

    closed = run("findings", "close", number, *WHY)
    assert closed.exit_code == 0, closed.output
    assert f"{number}  invoice_differs_from_preview  closed" in closed.stdout
    (entry,) = audited(services, "finding.closed")
    assert (entry.actor, entry.organization_id) == ("cli:kim", "org_1")
    told = run("findings", "show", number).stdout
    assert "by cli:kim: credited in in_9" in told
    assert "nothing calls for it any more" not in told
    assert "next:" not in told

    again = run("findings", "close", number, *WHY)
    assert again.exit_code == 1
    assert f"Finding {number} was closed by cli:kim: credited in in_9" in again.output
    assert "There is no finding 999" in run("findings", "close", "999", *WHY).output
    assert len(audited(services, "finding.closed")) == 1


def test_by_another_and_as_json(run: Callable[..., Result], services: Services) -> None:
    number = found_differing(services, FindingKind.INVOICE_DIFFERS_FROM_MODEL, adjustment="adj_1")
    done = run("findings", "close", str(number), "--by", "lee", *WHY, "--json")
    assert (json.loads(done.stdout)["id"], json.loads(done.stdout)["closed_at"] is None) == (
        number, False,
    )  # fmt: skip
    assert audited(services, "finding.closed")[0].actor == "cli:lee"


def test_what_a_run_closes_is_not_closed_by_hand(
    run: Callable[..., Result], services: Services
) -> None:
    number = str(found_differing(services, FindingKind.PAYMENT_DECLINED, adjustment=None))
    refused = run("findings", "close", number, *WHY)
    assert refused.exit_code == 1
    assert "not by hand: payment_declined" in refused.output
    assert "- trueup reconcile sub_1 --explain" in refused.output
    assert "payment_declined  open" in run("findings", "list").stdout


def test_at_a_subscription_that_is_over_nobody_looks_again(
    run: Callable[..., Result], shop: Shop
) -> None:
    """So a person closes what was open on it; but not who is active without one: nights do."""
    subscription = shop.subscribe(shop.organization("org_2", voice=1), {"voice": 1})
    shop.settle(subscription)
    scope = Scope(organization_id="org_2", subscription_id=subscription)

    def found(kind: FindingKind) -> str:
        return str(found_differing(shop.services, kind, adjustment=None, scope=scope))

    live = found(FindingKind.COUNTS_UNREADABLE)
    assert run("findings", "close", live, *WHY).exit_code == 1
    assert "findings close" not in run("findings", "show", live).stdout
    shop.sandbox._answer("DELETE", f"/v1/subscriptions/{subscription}")
    shop.settle(subscription)
    assert shop.findings(subscription, "org_2") == {"active_without_subscription"}

    bereft = found(FindingKind.ACTIVE_WITHOUT_SUBSCRIPTION)
    left = found(FindingKind.COUNTS_UNREADABLE)
    nightly.run(shop.services, shop.services.clock().date())
    assert "counts_unreadable" in shop.findings(subscription, "org_2"), "no run closes it"
    assert f"next: trueup findings close {left}" in run("findings", "show", left).stdout
    assert run("findings", "close", left, *WHY).exit_code == 0
    assert run("findings", "close", bereft, *WHY).exit_code == 1
    assert "findings close" not in run("findings", "show", bereft).stdout


def test_status_is_not_well_until_each_of_them_is_closed(
    run: Callable[..., Result], services: Services
) -> None:
    """They page, so the first screen says so too, though none of them is urgent."""
    numbers = [str(found_differing(services, adjustment=f"adj_{n}")) for n in (1, 2)]

    def findings_part() -> dict[str, object]:
        parts = json.loads(run("status", "--json").stdout)["parts"]
        return next(part for part in parts if part["name"] == "findings")

    for left, number in zip((2, 1), numbers, strict=True):
        part = findings_part()
        assert (part["well"], part["facts"]) == (
            False, {"open": {"invoice_differs_from_preview": left}, "urgent": {}},
        )  # fmt: skip
        assert part["do"] == [
            "trueup findings list --state open --type invoice_differs_from_preview",
            'trueup findings close FINDING --because "..."',
        ]
        assert run("findings", "close", number, *WHY).exit_code == 0
    assert findings_part()["well"]


def test_of_two_who_close_it_at_once_one_did(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not said of both: whoever comes second is told who was first."""
    number = found_differing(services, adjustment="adj_1")
    read = look.finding

    def overtaken(session: Session, finding_id: int) -> Finding | None:
        found = read(session, finding_id)
        monkeypatch.setattr(look, "finding", read)
        assert not isinstance(closing.close(services, number, KIM), Refuse)
        return found

    monkeypatch.setattr(look, "finding", overtaken)
    second = closing.close(services, number, KIM)
    assert isinstance(second, Refuse)
    assert second.code == "finding_closed"
    assert len(audited(services, "finding.closed")) == 1
