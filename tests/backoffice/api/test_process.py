"""The API as a process, as an operator starts it."""

from pathlib import Path

from reconcile.settings import Settings
from tests.support.api import running_api
from tests.support.shop import Shop


def test_it_serves_and_stops(tmp_path: Path, settings: Settings, shop: Shop) -> None:
    with running_api(tmp_path, settings, shop.services) as (api, _):
        assert api.with_token(None).send("GET", "/healthz", root="").status == 200
        ready = api.with_token(None).send("GET", "/readyz", root="").ok()
        assert ready["checks"] == {"database": "ok", "queue": "ok"}
        api.post("/organizations", id="org_1", name="Harbour", plan="agency").ok(201)
        assert api.get("/organizations/org_1").ok()["name"] == "Harbour"
        api.with_token(None).get("/organizations").problem(401, "unauthenticated")
