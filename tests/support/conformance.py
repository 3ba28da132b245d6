"""Every operation of the API's document, asked everything that the document allows and forbids.

schemathesis reads the document and writes the requests: each boundary of each value, then random
ones, also wrong ones. What must hold of every answer: no 5xx, no status, content type, header or
schema that the document does not have, nothing without a token, wrong data refused.
"""

import copy
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.hooks import HookContext

from backoffice.api.idempotency import HEADER
from tests.support.api import Client

# Wrong data is written in too many ways for one that is accepted to be a defect by itself: a query
# parameter twice, a number as its own text. What must be refused has tests of its own.
_CHECKS = {
    "positive_data_acceptance": {"enabled": False},
    "negative_data_rejection": {"enabled": False},
    # So many requests without a token are answered 429, not 401; that has tests of its own.
    "ignored_auth": {"enabled": False},
    "missing_required_header": {"enabled": False},
    "use_after_free": {"enabled": False},
    "ensure_resource_availability": {"enabled": False},
}


@dataclass
class Explored:
    """What was asked, and what was wrong, in words."""

    operations: frozenset[str]
    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    @property
    def said(self) -> str:
        """All failures, one a paragraph."""
        return "\n\n".join([*self.failures.values(), *self.errors])


def explore(
    api: Client,
    document: Mapping[str, Any],
    known: Mapping[str, list[Any]],
    *,
    most_s: float,
    examples: int,
    seed: int,
) -> Explored:
    """Ask everything of every operation of the document.

    `known` are values that exist, by the name of the path parameter or of the body's field. Half
    of the requests have them, the others what schemathesis makes up. The boundaries of every
    operation come first; then `examples` random requests of each, while there is time.
    """
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "base-url": api.url,
            "headers": {"Authorization": f"Bearer {api.token}"},
            "generation": {"max-examples": examples, "database": "none", "no-shrink": True},
            "request-timeout": 20,
            "phases": {
                # Methods that are not there have a test of their own.
                "coverage": {"unexpected-methods": []},
                # The boundaries have been wrong often enough: right requests go deeper.
                "fuzzing": {"generation": {"mode": "positive"}},
                "stateful": {"enabled": False},
            },
            "checks": _CHECKS,
        }
    )
    schema = schemathesis.openapi.from_dict(_without_keys(document), config=config)
    choose = Random(seed)

    def with_known(values: Any) -> Any:
        if not isinstance(values, dict) or choose.random() < 0.5:
            return values
        return {
            name: choose.choice(known[name]) if name in known else value
            for name, value in values.items()
        }

    @schema.hook
    def map_path_parameters(context: HookContext, path_parameters: Any) -> Any:
        return with_known(path_parameters)

    @schema.hook
    def map_body(context: HookContext, body: Any) -> Any:
        return with_known(body)

    found = Explored(operations=frozenset(_operations(document)))
    until = time.monotonic() + most_s
    for event in from_schema(schema).execute():
        _take(found, event)
        if time.monotonic() > until:
            break
    return found


def _without_keys(document: Mapping[str, Any]) -> dict[str, Any]:
    """Many requests would have the shortest key there is, and get one another's answer."""
    bare: dict[str, Any] = copy.deepcopy(dict(document))
    for methods in bare["paths"].values():
        for operation in methods.values():
            parameters = operation.get("parameters", [])
            operation["parameters"] = [p for p in parameters if p["name"] != HEADER]
    return bare


def _operations(document: Mapping[str, Any]) -> Iterator[str]:
    for path, methods in document["paths"].items():
        yield from (f"{method.upper()} {path}" for method in methods)


def _take(found: Explored, event: events.EngineEvent) -> None:
    if isinstance(event, events.NonFatalError):
        found.errors.append(f"{event.label}: {event.value}")
    if isinstance(event, events.FatalError):
        found.errors.append(str(event.exception))
    if not isinstance(event, events.ScenarioFinished):
        return
    recorder = event.recorder
    for case_id, interaction in recorder.interactions.items():
        if interaction.response is not None:
            found.requests[str(event.label)] += 1
            found.statuses[interaction.response.status_code] += 1
        for check in recorder.checks.get(case_id, []):
            if check.failure_info is not None:
                failure = check.failure_info.failure
                request = interaction.request
                found.failures.setdefault(
                    f"{event.label} {check.name} {failure.title}",
                    f"{event.label}: {failure.title}\n{failure.message}\n"
                    f"{request.method} {request.uri} {request.body!r}\n"
                    f"{interaction.response.content if interaction.response else None!r}",
                )
