"""Members who are counted in a view of the host application: nobody has a name here."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from reconcile.settings import Settings
from tests.support.api import Client, api_of
from tests.support.roster import add_member
from tests.support.sandbox import Sandbox
from tests.support.shop import Shop, opened_shop

ORG = "/organizations/org_1"
VIEW = (
    "create view counted_elsewhere as select organization_id, seat_type, count(*)::int as active "
    "from members where status = 'active' group by 1, 2"
)


@pytest.fixture
def shop(settings: Settings, sandbox: Sandbox) -> Iterator[Shop]:
    """A shop whose roster is a view."""
    counted = settings.model_copy(update={"roster_view": "counted_elsewhere"})
    with opened_shop(counted, sandbox) as opened:
        with opened.services.engine.begin() as connection:
            connection.execute(text(VIEW))
        try:
            yield opened
        finally:
            with opened.services.engine.begin() as connection:
                connection.execute(text("drop view counted_elsewhere"))


@pytest.fixture
def api(shop: Shop) -> Client:
    """A client of its API."""
    return api_of(shop.services)


def test_nobody_is_named_as_the_one_who_asks(api: Client, shop: Shop) -> None:
    """Not even whom a row says to be an admin: the host application decides who may."""
    sub = shop.subscribe(shop.organization(voice=2), {"voice": 2, "base": 1})
    shop.settle(sub)
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "ada", role="admin", seat_type="base")
    path, wanted = f"{ORG}/seat-changes/preview", {"quantities": {"voice": 3}}
    for name in ("ada", "nobody"):
        refused = api.post(path, wanted, acting_member_id=name).problem(409, "members_elsewhere")
        assert "name no acting member" in refused["remedies"][0]
    api.put(f"{ORG}/auto-add/voice", enabled=True, acting_member_id="ada").problem(
        409, "members_elsewhere"
    )
    api.post(f"{ORG}/members/ada/block").problem(409, "members_elsewhere")
    seen = api.post(path, wanted, because="Ada asked").ok(201)
    api.post(f"{ORG}/seat-changes", preview_id=seen["id"], because="Ada asked").ok(201)
    assert shop.quantities(sub)["voice"] == 3


def test_a_paid_own_seat_speaks_for_its_member(api: Client, shop: Shop) -> None:
    """A4: it grants its credits, and no finding says that nobody sits there."""
    customer = shop.organization(plan="workspace_pro")
    sub = shop.subscribe(
        customer,
        {"pro": 1},
        plan="workspace_pro",
        **{"metadata[member_id]": "ann"},
    )
    shop.settle(sub)
    assert shop.findings(sub) == set()
    pool = api.get(f"{ORG}/credits").ok(200)
    assert pool.json["pool"] > 0
