"""Members, transfers and Auto-Add over the API: what a host application does, and is told."""

from typing import Any

import pytest

from reconcile.settling.work import work_off
from reconcile.store import reviews
from tests.support.api import Client, a_token
from tests.support.roster import add_member, add_members, add_organization
from tests.support.shop import Shop

AT = "/organizations/org_1"


@pytest.fixture
def agency(shop: Shop) -> str:
    """Ada administers it; two of three Voice seats and the one Base seat beside hers are taken."""
    customer = shop.organization("org_1", voice=2)
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "ada", role="admin", seat_type="base")
        add_member(session, "org_1", "bo", seat_type="base")
    subscription_id = shop.subscribe(customer, {"voice": 3, "base": 2})
    shop.settle(subscription_id)
    return subscription_id


@pytest.fixture
def growth(shop: Shop) -> None:
    """Olga owns a shop on Growth; Adam is an admin, and two of three sales seats are taken."""
    with shop.services.sessions.begin() as session:
        add_organization(session, "org_1", plan="commerce_growth")
        add_member(session, "org_1", "olga", role="owner", seat_type=None)
        add_member(session, "org_1", "adam", role="admin", seat_type="admin")
        add_members(session, "org_1", "sales_rep", role="sales_rep", active=2)


def test_from_the_invite_to_the_seat_and_back(api: Client, agency: str) -> None:
    """B12, B14, C3."""
    invite = {"id": "eve", "role": "member", "seat_type": "voice", "acting_member_id": "ada"}
    invited = api.post(f"{AT}/members", invite).ok()
    assert invited["member"] == {
        "id": "eve",
        "role": "member",
        "seat_type": "voice",
        "status": "invited",
    }
    for step, status in (
        ("accept", "pending"),
        ("activate", "active"),
        ("block", "blocked"),
        ("unblock", "active"),
        ("remove", "removed"),
    ):
        done = api.post(f"{AT}/members/eve/{step}", because="a test").ok()
        assert done["member"]["status"] == status, done.text
        assert done["line"]
    assert api.get(f"{AT}/members/eve").ok()["status"] == "removed"
    assert api.post(f"{AT}/members", invite).ok()["member"]["status"] == "invited"
    assert api.post(f"{AT}/members/eve/revoke").ok()["line"] == "revoked; frees no seat"


def test_a_refusal_says_what_is_full_and_the_ways_out(api: Client, growth: None) -> None:
    """C5: with the words of the product."""
    for name in ("pia", "ray"):
        api.post(f"{AT}/members", id=name, role="sales_rep").ok()
    api.post(f"{AT}/members/pia/activate").ok()
    full = api.post(f"{AT}/members/ray/activate").problem(409, "seat_limit")
    assert full["detail"] == "Sales Rep seat limit reached"
    assert full["remedies"] == ["remove a Sales Rep member", "upgrade the plan"]
    assert full["status"] == 409


def test_the_members_role_decides_and_the_host_may_do_everything(api: Client, growth: None) -> None:
    """C6, B8, A3."""
    rep = "sales_rep_sales_rep_active_0"
    asked = {"role": "admin", "acting_member_id": "adam"}
    refused = api.post(f"{AT}/members/{rep}/role", asked).problem(403, "not_allowed")
    assert refused["detail"] == "Only the owner changes roles"
    refused = api.post(f"{AT}/members/adam/block", acting_member_id=rep)
    assert refused.problem(403, "not_allowed")["remedies"] == ["ask the owner or the admin"]
    api.post(f"{AT}/members/adam/block", acting_member_id="nobody").problem(403, "not_allowed")
    done = api.post(f"{AT}/members/{rep}/role", {**asked, "acting_member_id": "olga"}).ok()
    assert (done["member"]["role"], done["member"]["seat_type"]) == ("admin", "admin")
    api.post(f"{AT}/members/{rep}/role", role="sales_rep").ok()


def test_seats_move_where_there_is_room_and_swap_where_there_is_none(
    api: Client, shop: Shop, agency: str
) -> None:
    """B6, B7: nothing is written to Stripe for either."""
    api.post(f"{AT}/members/bo/seat-type", seat_type="voice").ok()
    api.post(f"{AT}/members", id="cy", role="member", seat_type="base").ok()
    api.post(f"{AT}/members/cy/activate").ok()
    full = api.post(f"{AT}/members/cy/seat-type", seat_type="voice").problem(409, "no_free_seat")
    assert full["detail"] == "No free Voice seat: 3 active, 3 bought"
    swap = {"member_id": "cy", "with_member_id": "bo", "seat_type": "voice"}
    swapped = api.post(f"{AT}/swaps", swap, acting_member_id="ada").ok()
    assert [(each["id"], each["seat_type"]) for each in swapped["members"]] == [
        ("cy", "voice"),
        ("bo", "base"),
    ]
    assert "already" in api.post(f"{AT}/swaps", swap).ok()["line"]
    back = {"member_id": "ada", "with_member_id": "bo", "seat_type": "voice"}
    api.post(f"{AT}/swaps", back).problem(409, "nothing_to_swap")
    assert shop.writes(agency) == 0


def test_ownership_is_passed_on_once(api: Client, growth: None) -> None:
    """C7: and only its holder passes it on."""
    to_adam = {"kind": "ownership", "from_member_id": "olga", "to_member_id": "adam"}
    refused = api.post(f"{AT}/transfers", to_adam, acting_member_id="adam")
    assert refused.problem(403, "not_allowed")["detail"] == "Only the owner passes on the ownership"
    done = api.post(f"{AT}/transfers", to_adam, acting_member_id="olga").ok()
    assert [(each["role"], each["seat_type"]) for each in done["members"]] == [
        ("admin", "admin"),
        ("owner", None),
    ]
    again = api.post(f"{AT}/transfers", to_adam, acting_member_id="olga").ok()
    assert again["line"] == "passed on to adam already"
    other = {**to_adam, "to_member_id": "sales_rep_sales_rep_active_0"}
    api.post(f"{AT}/transfers", other).problem(409, "not_owner")


def test_several_admins_take_two_steps(api: Client, agency: str) -> None:
    """B8, B9: promote the second, then demote the first, each audited."""
    one_step = {"kind": "admin", "from_member_id": "ada", "to_member_id": "bo"}
    assert api.post(f"{AT}/transfers", one_step).problem(409, "two_steps")["remedies"] == [
        "promote the other member first",
        "then demote or remove the first",
    ]
    last = api.post(f"{AT}/members/ada/role", role="member").problem(409, "last_admin")
    assert last["detail"] == "At least one active admin has to remain"
    api.post(f"{AT}/members/bo/role", role="admin", acting_member_id="ada").ok()
    api.post(f"{AT}/members/ada/role", role="member", acting_member_id="bo").ok()


def test_auto_add_is_the_admins_and_buys_as_members_activate(
    api: Client, shop: Shop, agency: str
) -> None:
    """B15."""
    members_only = api.with_token(a_token(shop.services, "read", "members"))
    on: dict[str, Any] = {"enabled": True, "ceiling_quantity": 4}
    members_only.put(f"{AT}/auto-add/voice", **on).problem(403, "scope_missing")
    api.put(f"{AT}/auto-add/voice", **on, acting_member_id="bo").problem(403, "not_allowed")
    assert api.put(f"{AT}/auto-add/voice", **on).ok()["ceiling_quantity"] == 4
    assert api.get(f"{AT}/auto-add/voice").ok()["enabled"] is True
    assert [each["enabled"] for each in api.get(f"{AT}/auto-add").ok()["data"]] == [False, True]
    api.get(f"{AT}/auto-add/gold").problem(404, "not_found")
    for name in ("eve", "fay", "gus"):
        api.post(f"{AT}/members", id=name, role="member", seat_type="voice").ok()
    for name in ("eve", "fay"):
        api.post(f"{AT}/members/{name}/activate").ok()
    stopped = api.post(f"{AT}/members/gus/activate").problem(409, "auto_add_limit")
    assert stopped["remedies"] == ["raise the ceiling", "remove a Voice member"]
    assert shop.quantities(agency) == {"voice": 4, "base": 2}


def test_a_declined_card_is_said_with_the_way_out(api: Client, shop: Shop, agency: str) -> None:
    """B15: nothing was changed, and the member may try again."""
    api.put(f"{AT}/auto-add/voice", enabled=True).ok()
    for name in ("eve", "fay"):
        api.post(f"{AT}/members", id=name, role="member", seat_type="voice").ok()
    api.post(f"{AT}/members/eve/activate").ok()
    customer = shop.sandbox.get(f"/v1/subscriptions/{agency}")["customer"]
    shop.sandbox.control("/declines", {"customer": customer, "code": "card_declined"})
    declined = api.post(f"{AT}/members/fay/activate").problem(402, "payment_declined")
    assert declined["remedies"] == ["update the card in the billing portal, then try again"]
    assert api.get(f"{AT}/members/fay").ok()["status"] == "invited"
    assert shop.quantities(agency)["voice"] == 3


def test_a_member_pays_for_a_seat_of_their_own(api: Client, shop: Shop) -> None:
    """A2."""
    shop.organization("org_1", plan="workspace_pro")
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "ann", role="admin", seat_type="pro", status="pending")
    urls = {"success_url": "https://app.example/ok", "cancel_url": "http://127.0.0.1:3000/no"}
    page = api.post(f"{AT}/members/ann/checkout", urls, acting_member_id="ann").ok(201)
    assert page["url"].startswith("https://checkout.stripe.com/")
    for bad in ("http://app.example", "javascript:alert(1)", "https://", "ftp://a.example"):
        api.post(f"{AT}/members/ann/checkout", {**urls, "cancel_url": bad}).problem(422, "invalid")
    early = api.post(f"{AT}/members/ann/activate").problem(409, "payment_needed")
    assert early["detail"] == "The seat joins when it is paid"
    paid = shop.sandbox.control(f"/checkout/{page['id']}/complete")
    shop.settle(paid["subscription"])
    assert api.get(f"{AT}/members/ann").ok()["status"] == "active"


def test_a_restricted_organization_does_not_grow(
    api: Client, shop: Shop, growth: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C8: and the restriction never touches the Owner."""
    monkeypatch.setattr(reviews, "is_restricted", lambda *_: True)
    restricted = api.post(f"{AT}/members", id="pia", role="sales_rep")
    restricted.problem(409, "organization_restricted")
    to_adam = {"kind": "ownership", "from_member_id": "olga", "to_member_id": "adam"}
    api.post(f"{AT}/transfers", to_adam).ok()


def test_lists_are_filtered_and_paged(api: Client, growth: None) -> None:
    first = api.get(f"{AT}/members", limit=3).ok()
    rest = api.get(f"{AT}/members", limit=3, cursor=first["next_cursor"]).ok()
    ids = [each["id"] for each in first["data"] + rest["data"]]
    assert ids == sorted(ids)
    assert (len(ids), rest["next_cursor"]) == (4, None)
    owners = api.get(f"{AT}/members", role="owner", status="active").ok()["data"]
    assert [each["id"] for each in owners] == ["olga"]
    reps = api.get(f"{AT}/members", seat_type="sales_rep").ok()["data"]
    assert len(reps) == 2


def test_what_is_not_there_is_not_found(api: Client, shop: Shop, growth: None) -> None:
    for path in ("/organizations/org_9/members", f"{AT}/members/nobody"):
        api.get(path).problem(404, "not_found")
    for path in (f"{AT}/members/nobody/activate", "/organizations/org_9/members/adam/block"):
        api.post(path).problem(404, "not_found")
    api.post("/organizations/org_9/members", id="ann", role="admin").problem(404, "not_found")
    api.put("/organizations/org_9/auto-add/voice", enabled=True).problem(404, "not_found")
    other = a_token(shop.services, "read", "members", organization_id="org_2")
    api.with_token(other).post(f"{AT}/members/adam/block").problem(404, "not_found")
    assert api.get(f"{AT}/members/adam").ok()["status"] == "active"


def test_every_change_is_worked_off_and_asks_for_nothing(
    api: Client, shop: Shop, agency: str
) -> None:
    """B14: a removal keeps the quantity."""
    api.post(f"{AT}/members/bo/remove").ok()
    assert work_off(shop.services, "org:org_1").ended == "done"
    assert shop.quantities(agency) == {"voice": 3, "base": 2}
