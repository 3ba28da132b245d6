"""A page to pay on is closed when nobody needs it any more, unless somebody paid on it before."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from reconcile.actor import Actor
from reconcile.errors import StripeGone
from reconcile.members import organizations, own_seats
from reconcile.members.inviting import accept, invite
from reconcile.members.joining import Done, Outcome
from reconcile.members.membership import block, remove, revoke
from reconcile.members.own_seats import Asked, Checkout
from reconcile.members.roster_import import import_files
from reconcile.operating import pausing, repairing
from reconcile.policy.values import Refuse
from reconcile.settling.work import Ended, work_off
from reconcile.store import checkouts
from reconcile.store.look import Filters
from tests.support.inbox import change_event
from tests.support.operating import rows, work_all
from tests.support.roster import add_member
from tests.support.shop import Shop

ANN = Actor("member:ann")
HOST = Actor("token:tok_1")
KIM = Actor("cli:kim", because="a test")
ASKED = Asked(success_url="https://app.example/done", cancel_url="https://app.example/back")


@pytest.fixture
def shop(shop: Shop) -> Shop:
    """Ann administers a Pro workspace; Bob has accepted and has not paid."""
    customer = shop.organization("org_1", plan="workspace_pro")
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "ann", role="admin", seat_type="pro")
        add_member(session, "org_1", "bob", seat_type="pro", status="pending")
    anns = {"metadata[member_id]": "ann"}
    shop.settle(shop.subscribe(customer, {"pro": 1}, plan="workspace_pro", **anns))
    return shop


def opens(shop: Shop, by: Actor = HOST) -> Checkout:
    made = own_seats.check_out(shop.services, "org_1", "bob", ASKED, actor=by)
    assert isinstance(made, Checkout), made
    return made


def state(shop: Shop, page: Checkout) -> str:
    found = shop.sandbox.get(f"/v1/checkout/sessions/{page.id}")
    return str(found["status"])


def pays(shop: Shop, page: Checkout) -> dict[str, Any]:
    return shop.sandbox.control(f"/checkout/{page.id}/complete")


def outcome(shop: Shop, page: Checkout) -> str | None:
    (found,) = (r for r in rows(shop.services).values() if r.work_key == f"checkout:{page.id}")
    said: str | None = found.outcome
    return said


def requested(shop: Shop) -> int:
    return sum(row.type == checkouts.CLOSE for row in rows(shop.services).values())


Leaves = Callable[..., Outcome]


@pytest.mark.parametrize("leaves", [block, remove, revoke])
def test_whoever_is_taken_out_cannot_pay_on_the_open_page(shop: Shop, leaves: Leaves) -> None:
    """A2, B12: paid for a day on, the seat would be billed, and nobody in it."""
    page = opens(shop)
    assert isinstance(leaves(shop.services, "org_1", "bob", actor=ANN), Done)
    work_all(shop.services)
    assert state(shop, page) == "expired"
    with pytest.raises(requests.HTTPError):
        pays(shop, page)
    assert outcome(shop, page) == "the page on which bob could have paid is closed"
    assert isinstance(leaves(shop.services, "org_1", "bob", actor=ANN), Done | Refuse)
    assert requested(shop) == 1


def test_who_pays_before_it_is_closed_has_paid_and_it_is_told(shop: Shop) -> None:
    """The payment is Stripe's word; somebody is to give it back, and hears of it."""
    page = opens(shop)
    block(shop.services, "org_1", "bob", actor=ANN)
    paid = pays(shop, page)
    work_all(shop.services)
    assert state(shop, page) == "complete"
    assert outcome(shop, page) == "it was paid before it could be closed"
    shop.settle(paid["subscription"])
    assert shop.findings(paid["subscription"]) == {"seat_without_member"}


def test_a_payment_between_the_look_and_the_call_wins(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opens(shop)
    block(shop.services, "org_1", "bob", actor=ANN)
    read = shop.services.stripe.read

    def then_pays(path: str, /, **params: Any) -> Any:
        found = read(path, **params)
        pays(shop, page)
        return found

    monkeypatch.setattr(shop.services.stripe, "read", then_pays)
    assert work_off(shop.services, f"checkout:{page.id}").ended is Ended.POSTPONED
    monkeypatch.undo()
    look_again(shop, page)
    assert outcome(shop, page) == "it was paid before it could be closed"


def test_it_is_closed_when_stripe_is_back_also_where_no_answer_came(shop: Shop) -> None:
    """A call that was applied, and the worker died or heard nothing: the next look finds it."""
    page = opens(shop)
    expire = {"method": "POST", "path": f"/v1/checkout/sessions/{page.id}/expire"}
    shop.sandbox.control("/faults", {"kind": "server_error_after", **expire})
    block(shop.services, "org_1", "bob", actor=ANN)
    assert work_off(shop.services, f"checkout:{page.id}").ended is Ended.RETRY
    look_again(shop, page)
    assert outcome(shop, page) == "it is expired already"


def test_a_page_that_a_wrong_key_does_not_find_is_closed_with_the_right_one(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opens(shop)
    block(shop.services, "org_1", "bob", actor=ANN)

    def not_found(path: str, /, **params: Any) -> Any:
        raise StripeGone("No such checkout session")

    with monkeypatch.context() as patch:
        patch.setattr(shop.services.stripe, "read", not_found)
        assert work_off(shop.services, f"checkout:{page.id}").ended is Ended.POSTPONED
    look_again(shop, page)
    assert state(shop, page) == "expired"
    finished = Filters(type=checkouts.CLOSE)
    assert len(repairing.plan_requeue(shop.services, finished, force=True).ids) == 1


def test_who_pays_and_is_let_in_is_not_said_to_have_paid_too_early(shop: Shop) -> None:
    page = opens(shop)
    shop.settle(pays(shop, page)["subscription"])
    work_all(shop.services)
    assert outcome(shop, page) == "it was paid, and bob is in"


def look_again(shop: Shop, page: Checkout) -> None:
    """The delay is over."""
    (row,) = (r for r in rows(shop.services).values() if r.type == checkouts.CLOSE)
    with shop.services.sessions.begin() as session:
        change_event(session, row.id, due_at=shop.services.clock())
    assert work_off(shop.services, f"checkout:{page.id}").ended is Ended.DONE


def test_a_member_who_is_blocked_while_the_page_is_made_is_given_none(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the check and the record of the page nobody knows of it."""
    create = shop.services.stripe.create_checkout_session
    made: list[Any] = []

    def then_blocked(**form: Any) -> Any:
        made.append(create(**form))
        assert isinstance(block(shop.services, "org_1", "bob", actor=ANN), Done)
        return made[-1]

    monkeypatch.setattr(shop.services.stripe, "create_checkout_session", then_blocked)
    refused = own_seats.check_out(shop.services, "org_1", "bob", ASKED, actor=HOST)
    assert isinstance(refused, Refuse), refused
    work_all(shop.services)
    (page,) = made
    found = shop.sandbox.get(f"/v1/checkout/sessions/{page['id']}")
    assert found["status"] == "expired"


def test_the_page_that_lets_a_blocked_member_pay_first_stays(shop: Shop, tmp_path: Path) -> None:
    """A2, B12: who may unblock opens it after the block, whatever else happens to the roster."""
    first = opens(shop)
    block(shop.services, "org_1", "bob", actor=ANN)
    second = opens(shop, by=ANN)
    imports(shop, tmp_path, "bob,member,pro,blocked", "cy,member,pro,invited")
    work_all(shop.services)
    assert (state(shop, first), state(shop, second)) == ("expired", "open")
    remove(shop.services, "org_1", "bob", actor=ANN)
    work_all(shop.services)
    assert state(shop, second) == "expired"


def imports(shop: Shop, folder: Path, *people: str) -> None:
    """The host exports these members, with role, seat type and status."""
    lines = ["organization_id,id,role,seat_type,status", *(f"org_1,{each}" for each in people)]
    path = folder / "members.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    services = shop.services
    assert import_files(
        services.sessions, services.catalog, [path], now=services.clock()
    ).changed_something


def test_whoever_an_import_takes_out_cannot_pay_either(shop: Shop, tmp_path: Path) -> None:
    page = opens(shop)
    imports(shop, tmp_path, "bob,member,pro,removed")
    work_all(shop.services)
    assert state(shop, page) == "expired"


def test_what_does_not_take_the_need_away_leaves_the_page_open(shop: Shop) -> None:
    assert isinstance(invite(shop.services, "org_1", "dee", role="member", actor=ANN), Done)
    made = own_seats.check_out(shop.services, "org_1", "dee", ASKED, actor=HOST)
    assert isinstance(made, Checkout)
    assert isinstance(accept(shop.services, "org_1", "dee", actor=Actor("member:dee")), Done)
    organizations.change(shop.services, "org_1", actor=HOST, name="Lantern Ltd")
    work_all(shop.services)
    assert state(shop, made) == "open"
    assert requested(shop) == 0


def test_a_plan_on_which_nobody_pays_alone_closes_the_pages(shop: Shop) -> None:
    page = opens(shop)
    changed = organizations.change(shop.services, "org_1", actor=HOST, plan="workspace_business")
    assert not isinstance(changed, Refuse), changed
    work_all(shop.services)
    assert state(shop, page) == "expired"


def test_while_writes_are_paused_the_request_is_held(shop: Shop) -> None:
    page = opens(shop)
    pausing.pause(shop.services, "writes", "", KIM)
    block(shop.services, "org_1", "bob", actor=ANN)
    work_all(shop.services)
    assert state(shop, page) == "open"
    pausing.resume(shop.services, "writes", "", KIM)
    work_all(shop.services)
    assert state(shop, page) == "expired"
