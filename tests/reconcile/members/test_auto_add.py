"""Auto-Add Seats are switched on by an admin, with a ceiling, and it is written down."""

from dataclasses import replace

import pytest

from reconcile.actor import Actor
from reconcile.members import auto_add
from reconcile.members.activation import activate
from reconcile.members.joining import NoSuchOrganization
from reconcile.policy.values import Refuse
from reconcile.settling.work import work_off
from reconcile.store import audit
from reconcile.store.roster import AutoAdd
from tests.support.roster import add_member, add_organization
from tests.support.shop import Shop

ADA, MIA = Actor("member:ada"), Actor("member:mia")
ON = AutoAdd(seat_type="voice", enabled=True, ceiling_quantity=5, ceiling_minor=25_000)


@pytest.fixture
def agency(shop: Shop) -> str:
    """More Voice members than seats, as an import may bring it; an admin and a member."""
    customer = shop.organization("org_1", voice=4)
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "ada", role="admin", seat_type="base")
        add_member(session, "org_1", "mia", role="member", seat_type="base")
    subscription_id = shop.subscribe(customer, {"voice": 4, "base": 2})
    shop.settle(subscription_id)
    return subscription_id


def test_it_is_off_until_an_admin_switches_it_on(shop: Shop, agency: str) -> None:
    """B15, B8."""
    services = shop.services
    assert [each.enabled for each in auto_add.settings_of(services, "org_1")] == [False, False]
    refused = auto_add.put(services, "org_1", ON, actor=MIA)
    assert isinstance(refused, Refuse)
    assert refused.message == "Only the admin changes Auto-Add Seats"
    assert auto_add.put(services, "org_1", ON, actor=ADA) is None
    assert auto_add.put(services, "org_1", ON, actor=ADA) is None
    assert ON in auto_add.settings_of(services, "org_1")
    with services.sessions() as session:
        (entry,) = audit.page(session, action="auto_add.set")
    assert (entry.actor, entry.subject) == ("member:ada", "voice")
    off = {"enabled": False, "ceiling_quantity": None, "ceiling_minor": None}
    assert (entry.before, entry.after) == (
        off,
        {"enabled": True, "ceiling_quantity": 5, "ceiling_minor": 25_000},
    )


def test_seats_that_are_short_are_bought_once_it_is_on(shop: Shop, agency: str) -> None:
    """B15."""
    shop.activate("org_1", "voice", 5)
    shop.settle(agency)
    assert shop.findings(agency) == {"active_over_quantity"}
    auto_add.put(shop.services, "org_1", ON, actor=ADA)
    work_off(shop.services, "org:org_1")
    assert shop.quantities(agency)["voice"] == 5
    assert shop.findings(agency) == set()


@pytest.mark.parametrize(
    ("plan", "seat_type", "code"),
    [
        ("workspace_business", "pro", "contract"),
        ("workspace_pro", "pro", "own_seat"),
        ("commerce_growth", "admin", "included"),
        ("team", "member", "follows_members"),
        ("agency", "gold", "unknown_seat_type"),
    ],
)
def test_what_nobody_may_buy_is_not_added_either(
    shop: Shop, plan: str, seat_type: str, code: str
) -> None:
    """A6, A2, C1."""
    with shop.services.sessions.begin() as session:
        add_organization(session, "org_1", plan=plan)
    wanted = AutoAdd(seat_type=seat_type, enabled=True, ceiling_quantity=None, ceiling_minor=None)
    refused = auto_add.put(shop.services, "org_1", wanted, actor=Actor("token:host"))
    assert isinstance(refused, Refuse)
    assert refused.code == code


def test_an_organization_that_is_not_there(shop: Shop) -> None:
    with pytest.raises(NoSuchOrganization):
        auto_add.settings_of(shop.services, "org_9")
    with pytest.raises(NoSuchOrganization):
        auto_add.put(shop.services, "org_9", ON, actor=ADA)


def test_seats_whose_price_somebody_changed_are_not_bought(shop: Shop, agency: str) -> None:
    """Before the word of it is in: what is fetched to buy from says it as well."""
    auto_add.put(shop.services, "org_1", replace(ON, ceiling_minor=None), actor=ADA)
    old = {"currency": "usd", "unit_amount": 9900, "product_data[name]": "Voice, the old way"}
    price = shop.sandbox.post("/v1/prices", {**old, "recurring[interval]": "month"})["id"]
    item = shop.seats(agency)["voice"].item_id
    form = {"items[0][id]": item, "items[0][price]": price, "items[0][quantity]": 4}
    shop.sandbox.post(f"/v1/subscriptions/{agency}", form)
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "vic", role="member", seat_type="voice", status="pending")
    refused = activate(shop.services, "org_1", "vic", actor=ADA)
    assert isinstance(refused, Refuse)
    assert refused.code == "shortfall"
    assert shop.writes(agency) == 0
    assert shop.findings(agency) == {"item_wrong_price"}
