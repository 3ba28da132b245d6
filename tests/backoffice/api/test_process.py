"""The API as a process, as an operator starts it."""

import json
from collections.abc import Iterator
from pathlib import Path

import requests

from backoffice.api.form import MAX_BODY_BYTES
from backoffice.local.network import free_port
from reconcile.settings import Settings
from tests.support.api import running_api
from tests.support.shop import Shop

TIMEOUT_S = 30


def test_it_serves_counts_and_bounds_what_it_reads(
    tmp_path: Path, settings: Settings, shop: Shop
) -> None:
    listen = f"127.0.0.1:{free_port()}"
    variables = {"TRUEUP_METRICS_LISTEN": listen}
    with running_api(tmp_path, settings, shop.services, **variables) as (api, process):
        assert api.with_token(None).send("GET", "/healthz", root="").status == 200
        ready = api.with_token(None).send("GET", "/readyz", root="").ok()
        assert ready["checks"] == {"database": "ok", "queue": "ok"}
        api.post("/organizations", id="org_1", name="Harbour", plan="agency").ok(201)
        assert api.get("/organizations/org_1").ok()["name"] == "Harbour"
        api.with_token(None).get("/organizations").problem(401, "unauthenticated")

        # Without a stated length it is bounded as well.
        new = json.dumps({"id": "org_2", "name": "B", "plan": "agency"}).encode()
        headers = {"Authorization": f"Bearer {api.token}", "Content-Type": "application/json"}
        url = f"{api.url}/v1/organizations"

        def chunks(padding: int) -> Iterator[bytes]:
            yield new
            yield from (b" " * 1024 for _ in range(padding))

        small = requests.post(url, data=chunks(2), headers=headers, timeout=TIMEOUT_S)
        assert small.status_code == 201, small.text
        large = requests.post(
            url, data=chunks(MAX_BODY_BYTES // 1024 + 1), headers=headers, timeout=TIMEOUT_S
        )
        assert large.status_code == 413, large.text

        # The processes are added up.
        counted = requests.get(f"http://{listen}/metrics", timeout=TIMEOUT_S).text
        route = 'route="/v1/organizations/<organization_id>"'
        assert f'trueup_api_requests_total{{method="GET",{route},status="2xx"}} 1.0' in counted
        assert f'trueup_api_requests_total{{method="GET",{route},status="5xx"}} 0.0' in counted
        assert "Harbour" not in process.tail()
