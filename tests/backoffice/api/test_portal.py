"""The way into Stripe's customer portal (B11)."""

import pytest

from reconcile.adjustments.portal import is_safe
from reconcile.store import audit
from tests.support.api import Client
from tests.support.roster import add_member
from tests.support.shop import Shop

PATH = "/organizations/org_1/portal-session"
HOME = "https://app.example/billing"


def test_a_link_to_the_portal_of_whoever_pays(api: Client, shop: Shop) -> None:
    customer = shop.organization(base=1)
    url = api.post(PATH, return_url=HOME).ok(201)["url"]
    assert url.startswith("https://")
    (session,) = shop.sandbox.observe("/objects/billing_portal.session")["data"]
    assert (session["customer"], session["return_url"]) == (customer, HOME)
    with shop.services.sessions() as database:
        (entry,) = audit.page(database, organization_id="org_1")
    assert (entry.action, entry.after) == ("portal.opened", {"customer": customer})


def test_only_who_may_opens_it(api: Client, shop: Shop) -> None:
    shop.organization(base=1)
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "ada", role="admin", seat_type="base")
        add_member(session, "org_1", "bo", role="member", seat_type="base")
    api.post(PATH, return_url=HOME, acting_member_id="bo").problem(403, "not_allowed")
    api.post(PATH, return_url=HOME, acting_member_id="ada").ok(201)


def test_a_member_opens_the_portal_of_their_own_seat(api: Client, shop: Shop) -> None:
    shop.organization(plan="workspace_pro")
    with shop.services.sessions.begin() as session:
        for name in ("bo", "cy"):
            add_member(session, "org_1", name, role="member", seat_type="pro")
    card = {"payment_method": "pm_card_visa"}
    card["invoice_settings[default_payment_method]"] = "pm_card_visa"
    bos = str(shop.sandbox.post("/v1/customers", card)["id"])
    sub = shop.subscribe(bos, {"pro": 1}, plan="workspace_pro", **{"metadata[member_id]": "bo"})
    shop.settle(sub)
    api.post(PATH, return_url=HOME, member_id="bo", acting_member_id="bo").ok(201)
    (session,) = shop.sandbox.observe("/objects/billing_portal.session")["data"]
    assert session["customer"] == bos
    api.post(PATH, return_url=HOME, member_id="bo", acting_member_id="cy").problem(
        403, "not_allowed"
    )
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "ann", role="admin", seat_type="pro")
    # The card is bo's own, and so are the invoices.
    anns = api.post(PATH, return_url=HOME, member_id="bo", acting_member_id="ann")
    assert anns.problem(403, "not_allowed")["remedies"] == ["ask the member"]
    api.post(PATH, return_url=HOME, member_id="bo").ok(201)
    api.post(PATH, return_url=HOME, member_id="cy").problem(409, "no_customer")
    api.post(PATH, return_url=HOME, member_id="cy", acting_member_id="cy").problem(
        409, "no_customer"
    )


def test_a_seat_that_the_organization_pays_opens_nobody_its_portal(api: Client, shop: Shop) -> None:
    """It shows the organization's card and invoices: still for those who may see them."""
    customer = shop.organization(plan="workspace_pro")
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "ann", role="admin", seat_type="pro")
        add_member(session, "org_1", "bo", role="member", seat_type="pro")
    own = {"metadata[member_id]": "bo"}
    shop.settle(shop.subscribe(customer, {"pro": 1}, plan="workspace_pro", **own))
    body = {"return_url": HOME, "member_id": "bo"}
    api.post(PATH, body, acting_member_id="bo").problem(403, "not_allowed")
    api.post(PATH, body, acting_member_id="ann").ok(201)


def test_without_a_customer_there_is_nothing_to_show(api: Client, shop: Shop) -> None:
    shop.organization(base=1)
    api.post("/organizations", id="org_3", name="New", plan="agency").ok(201)
    api.post("/organizations/org_3/portal-session", return_url=HOME).problem(409, "no_customer")
    api.post("/organizations/org_9/portal-session", return_url=HOME).problem(404, "not_found")


@pytest.mark.parametrize(
    "url",
    [
        "http://app.example/billing",
        "http://127.0.0.1.app.example/",
        "http://localhost.app.example/",
        "https://user:secret@app.example/",
        "https:///billing",
        "https://app.example:99999/",
        "https://app.example\\@evil.example/",
        "javascript:alert(1)",
        "//app.example/",
    ],
)
def test_nobody_is_sent_anywhere_else(url: str) -> None:
    assert not is_safe(url)


@pytest.mark.parametrize(
    "url", [HOME, "http://localhost:3000/", "http://127.0.0.1:8080/x", "http://[::1]:8080/"]
)
def test_where_a_customer_may_come_back_to(url: str) -> None:
    assert is_safe(url)


def test_an_unsafe_return_is_refused(api: Client, shop: Shop) -> None:
    shop.organization(base=1)
    api.post(PATH, return_url="http://app.example/").problem(422, "invalid")
    api.post(PATH, return_url="ftp://app.example/").problem(422, "invalid")
