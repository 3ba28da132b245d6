"""What is said of notices, reviews, usage and credits holds also where there are rows of them."""

from typing import Any

import pytest

from reconcile.settling.beside import check_organization
from reconcile.store import notices
from tests.support.api import Client, listening
from tests.support.conformance import explore
from tests.support.roster import add_members, add_organization
from tests.support.shop import Shop

# Each noun is a test of its own, so that none takes long.
NOUNS = {"/notices": 2, "/reviews": 4, "/usage": 2, "/credits": 2}


@pytest.mark.timeout(300)  # hundreds of requests, on a busy machine
@pytest.mark.parametrize("noun", NOUNS)
def test_no_answer_about_what_exists_is_outside_the_document(
    api: Client, shop: Shop, noun: str
) -> None:
    with shop.services.sessions.begin() as session:
        add_organization(session, "org_1", plan="commerce_scale")
        add_members(session, "org_1", "admin", role="admin", active=8)
    check_organization(shop.services, "org_1", trigger="evt_1")
    (review,) = api.get("/reviews").ok()["data"]
    with shop.services.sessions() as session:
        (notice,) = notices.page(session)
    known: dict[str, list[Any]] = {
        "organization_id": ["org_1"],
        "review_id": [review["id"]],
        "notice_id": [notice.id],
        "month": ["2026-03", "2026-04"],
        "gmv_minor": [{"aud": 30_000_000}],
        "type": ["review.opened"],
    }
    document: dict[str, Any] = api.send("GET", "/openapi.json", root="").ok().json
    paths = {p: said for p, said in document["paths"].items() if noun in p}
    assert len(paths) == NOUNS[noun]
    with listening(api) as served:
        found = explore(served, document | {"paths": paths}, known, most_s=240, examples=5, seed=7)
    assert not found.failures, found.said
    assert not found.errors, found.said
    assert found.operations == set(found.requests)
    assert found.statuses[200] >= len(found.operations), found.statuses
