"""The document tells the truth: every operation is asked what it allows and what it forbids."""

import re
from typing import Any

import jsonschema_rs
import pytest
from pydantic import BaseModel

from backoffice.api import frame
from backoffice.api.resources import RESOURCES
from backoffice.api.tokens import SCOPES
from tests.support.api import Client, a_token, listening
from tests.support.conformance import explore
from tests.support.roster import add_member
from tests.support.shop import Shop

# What exists in the shop below, by the name of a path parameter or of a field.
MEMBERS = [f"member_voice_active_{number}" for number in range(3)] + ["ann", "ben"]
KNOWN: dict[str, list[Any]] = {
    "organization_id": ["org_1"],
    "seat_type": ["voice", "base"],
    "to_seat_type": ["voice", "base"],
    "member_id": MEMBERS,
    "with_member_id": MEMBERS,
    "from_member_id": MEMBERS,
    "to_member_id": MEMBERS,
    "acting_member_id": [None, "ann"],
    "role": ["admin", "member"],
    "plan": ["agency"],
    "interval": ["month", "year"],
    "currency": ["usd"],
    "quantities": [{"voice": 6}, {"voice": 6, "base": 3}],
}
# Each part is a test of its own, so that none takes long.
PARTS = 6

# The dialect of schemas in OpenAPI 3.1.
DRAFT = "https://json-schema.org/draft/2020-12/schema"


@pytest.fixture
def document(api: Client) -> dict[str, Any]:
    """The document, as a client gets it."""
    found: dict[str, Any] = api.send("GET", "/openapi.json", root="").ok().json
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Its operations: method, path, what it says of it."""
    return [
        (method, path, said)
        for path, methods in document["paths"].items()
        for method, said in methods.items()
    ]


@pytest.mark.timeout(300)  # some seven hundred requests, on a busy machine
@pytest.mark.parametrize("part", range(PARTS))
def test_no_answer_is_outside_the_document(
    api: Client, shop: Shop, document: dict[str, Any], part: int
) -> None:
    customer = shop.organization(voice=3, base=2)
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "ann", role="admin", seat_type="base")
        add_member(session, "org_1", "ben", status="invited")
    shop.settle(shop.subscribe(customer, {"voice": 5, "base": 3}))
    paths = sorted(document["paths"])[part::PARTS]
    asked = document | {"paths": {path: document["paths"][path] for path in paths}}
    with listening(api) as served:
        found = explore(served, asked, KNOWN, most_s=240, examples=8, seed=part)
    assert not found.failures, found.said
    assert not found.errors, found.said
    assert found.operations == set(found.requests)
    assert found.statuses[200] + found.statuses[201] > len(found.operations), found.statuses


def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    for name, schema in document["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid(schema | {"$schema": DRAFT}), name
    references = set(
        re.findall(r'"\$ref": ?"#/components/schemas/([^"]+)"', str(document).replace("'", '"'))
    )
    assert references <= set(document["components"]["schemas"])


def test_it_is_the_same_each_time(document: dict[str, Any], api: Client) -> None:
    assert api.send("GET", "/openapi.json", root="").ok().json == document
    for _, path, said in operations(document):
        names = [(one["in"], one["name"]) for one in said.get("parameters", [])]
        assert len(set(names)) == len(names), path


def test_every_operation_says_who_may_and_what_may_happen(document: dict[str, Any]) -> None:
    ids = [said["operationId"] for _, _, said in operations(document)]
    assert len(set(ids)) == len(ids)
    for method, path, said in operations(document):
        assert said["summary"], path
        assert said["security"][0]["bearer"][0] in SCOPES, path
        assert {"401", "403", "404", "422", "429"} <= set(said["responses"]), path
        assert (method == "get") == ("402" not in said["responses"]), path


def test_a_problem_of_its_own_kind_is_described(document: dict[str, Any]) -> None:
    """A generated client would throw the fresh preview away, which it has to confirm next."""
    own = {
        path: answer
        for method, path, said in operations(document)
        if (answer := said["responses"]["409"])["content"] != said["responses"]["404"]["content"]
    }
    below = "/v1/organizations/{organization_id}"
    assert set(own) == {
        f"{below}/seat-changes",
        f"{below}/interval-switches",
        f"{below}/contract/changes",
    }
    for path, answer in own.items():
        stale = {"schema": {"$ref": "#/components/schemas/StaleProblem"}}
        assert answer["content"] == {"application/problem+json": stale}, path
        assert "headers" not in answer, "it is not kept under a key"
    known = document["components"]["schemas"]["StaleProblem"]["properties"]
    assert {"preview", "now", "code"} <= set(known)


def test_every_field_of_every_answer_is_described(document: dict[str, Any]) -> None:
    silent = [
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, about in schema.get("properties", {}).items()
        if not about.get("description")
    ]
    assert not silent


def test_no_two_models_share_a_name() -> None:
    """The document has one place for a name: the second would take the first one's."""
    names: dict[str, str] = {}
    for model in _models(BaseModel):
        if model.__module__.startswith("backoffice.api") and "[" not in model.__name__:
            other = names.setdefault(model.__name__, model.__module__)
            assert other == model.__module__, f"{model.__name__}: {other}, {model.__module__}"


def _models(root: type[BaseModel]) -> list[type[BaseModel]]:
    found = []
    for model in root.__subclasses__():
        found += [model, *_models(model)]
    return found


def test_nothing_is_open_without_a_token(document: dict[str, Any], api: Client) -> None:
    for method, path, _ in operations(document):
        asked = api.with_token(None).send(method.upper(), path, root="")
        assert asked.status in (401, 429), f"{method} {path}: {asked.status}"


def test_every_operation_needs_its_scope(document: dict[str, Any], api: Client, shop: Shop) -> None:
    for method, path, said in operations(document):
        others = [scope for scope in SCOPES if scope != said["security"][0]["bearer"][0]]
        stranger = api.with_token(a_token(shop.services, *others))
        refused = stranger.send(method.upper(), path.replace("{", "").replace("}", ""), root="")
        refused.problem(403, "scope_missing")


def test_another_organizations_token_finds_nothing_anywhere(
    document: dict[str, Any], api: Client, shop: Shop
) -> None:
    shop.organization("org_1")
    stranger = api.with_token(a_token(shop.services, organization_id="org_2"))
    below = [one for one in operations(document) if "{organization_id}" in one[1]]
    assert len(below) > 20
    for method, path, _ in below:
        asked = re.sub(r"\{\w+\}", "x", path.replace("{organization_id}", "org_1"))
        stranger.send(method.upper(), asked, root="").problem(404, "not_found")


def test_every_resource_is_below_the_version() -> None:
    assert all(resource.url_prefix == frame.PREFIX for resource in RESOURCES)
