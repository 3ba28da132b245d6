"""Every code that a refusal may have is on the list: with its meaning, and a way out."""

import ast
from collections.abc import Iterator
from http import HTTPStatus
from importlib import import_module

from backoffice.api.codes import CODES, GROUPS
from backoffice.api.problems import problem
from tests.support.api import Client
from tests.support.source import calls, named, python_files

# Makers of answers, with the place of the code among their arguments.
_MAKERS = {"problem": 1, "_conflict": 0, "_away": 0}
# Codes that are handed on: each from one of the places that are read here.
_HANDED_ON = {"refuse.code", "answer.code", "code", "status.name.lower()"}
# What Flask refuses by itself, and what stands in a table or an argument.
_OTHERS = {
    "method_not_allowed",
    "request_entity_too_large",
    "subscription_inactive",
    "past_due",
    "collection_paused",
    "preview_stale",
    "preview_expired",
}


def test_every_code_is_listed_and_none_is_made_up() -> None:
    assert set(_codes()) | _OTHERS == CODES.keys()
    assert sum(len(group) for group in GROUPS.values()) == len(CODES)


def test_every_code_has_a_meaning_and_a_way_out(api: Client) -> None:
    described = api.send("GET", "/openapi.json", root="").ok()["info"]["description"]
    for name, code in CODES.items():
        assert code.meaning, name
        assert code.way_out, name
        assert f"| `{name}` | {code.meaning} | {code.way_out} |" in described


def test_a_refusal_without_ways_out_gets_its_codes() -> None:
    said = problem(HTTPStatus.CONFLICT, "nothing_to_change", "It is so already").get_json(
        force=True
    )
    assert said["remedies"] == [CODES["nothing_to_change"].way_out]
    closer = problem(HTTPStatus.CONFLICT, "hard_cap", "No", remedies=("ask Eve",))
    assert closer.get_json(force=True)["remedies"] == ["ask Eve"]
    strange = problem(HTTPStatus.LOOP_DETECTED, "loop_detected", "No").get_json(force=True)
    assert strange["remedies"]


def _codes() -> Iterator[str]:
    for path in python_files("reconcile", "backoffice"):
        for name, call in calls(path):
            given = next((k.value for k in call.keywords if k.arg == "code"), None)
            if name in _MAKERS and isinstance(call.func, ast.Name):
                given = call.args[_MAKERS[name]]
            elif name != "Refuse":
                continue
            where = f"{named(path)}:{call.lineno}"
            assert given is not None, where
            if isinstance(given, ast.Constant):
                yield str(given.value)
            elif isinstance(given, ast.Name) and given.id.isupper():
                module = named(path).removesuffix(".py").replace("/", ".")
                yield getattr(import_module(module), given.id)
            else:
                assert ast.unparse(given) in _HANDED_ON, where
