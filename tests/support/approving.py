"""Contracts for tests: what an account manager agrees on, approves and takes back (A6)."""

from typing import Any

from reconcile.actor import Actor
from reconcile.adjustments import contract, seat_change
from reconcile.adjustments.contract import Terms
from reconcile.adjustments.seat_change import Applied, Preview
from reconcile.policy.seat_change import Requester, Wanted
from reconcile.store import audit, contracts
from reconcile.store.contracts import Contract
from reconcile.store.renewals import Approved
from tests.support.renewing import START
from tests.support.shop import Shop, moment

EVE = Actor("token:tok_1", "tok_1", "order 4711")


def begun(shop: Shop, clock: str, seats: int = 6, **more: Any) -> str:
    """A contract over so many Pro seats, five of them in use."""
    customer = shop.organization(plan="workspace_business", pro=5, test_clock=clock)
    sub = shop.subscribe(customer, {"pro": seats}, plan="workspace_business", **more)
    shop.settle(sub)
    return sub


def begun_with_two_kinds(shop: Shop, clock: str) -> tuple[str, str]:
    """A contract over five Base and two Voice seats, and who pays for it: a customer."""
    customer = shop.organization(base=3, voice=1, test_clock=clock)
    sub = shop.subscribe(customer, {"base": 5, "voice": 2})
    shop.settle(sub)
    agree(shop, base=5, voice=2)
    return customer, sub


def wanted(**quantities: int) -> Wanted:
    """What an account manager has approved."""
    return Wanted(quantities=quantities, by=Requester.ACCOUNT_MANAGER, approval="Eve, 2026-09-30")


def approve(shop: Shop, **quantities: int) -> Applied:
    """An account manager approves other quantities."""
    found = seat_change.preview(shop.services, "org_1", wanted(**quantities), actor=EVE)
    assert isinstance(found, Preview), found
    done = seat_change.apply(
        shop.services, "org_1", found.id, actor=EVE, by=Requester.ACCOUNT_MANAGER
    )
    assert isinstance(done, Applied)
    return done


def withdrawn(shop: Shop) -> dict[str, int]:
    """An account manager takes it back; returns what it would have set."""
    taken = contract.withdraw(shop.services, "org_1", actor=EVE)
    assert isinstance(taken, Approved), taken
    return dict(taken.quantities)


def agree(shop: Shop, *, removals: bool = False, **quantities: int) -> None:
    """An account manager records what is agreed."""
    terms = Terms(
        kind="monthly",
        quantities=quantities,
        starts_at=moment(START),
        ends_at=None,
        removals_allowed=removals or None,
        removals_because="order 4711" if removals else None,
    )
    assert isinstance(contract.record(shop.services, "org_1", terms, actor=EVE), Contract)


def agreed(shop: Shop) -> list[dict[str, int]]:
    """What was agreed and is, oldest first."""
    with shop.services.sessions() as session:
        return [dict(each.quantities) for each in contracts.history(session, "org_1")][::-1]


def waiting(shop: Shop) -> Approved | None:
    """The approved change that is shown as waiting."""
    with shop.services.sessions() as session:
        return contract.standing(session, "org_1").approved


def done_to_contract(shop: Shop) -> list[str]:
    """What the audit trail tells of the contract, oldest first."""
    with shop.services.sessions() as session:
        entries = audit.page(session, organization_id="org_1")
    return [each.action for each in reversed(entries) if each.action.startswith("contract.")]
