"""Sends recorded steps to a sandbox and compares the answers; notation: recorded/README.md."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.sandbox.client import Answer, Api

FILE = Path(__file__).parent / "recorded" / "stripe-2026-08-26.dahlia.json"
ABSENT = object()
_AIDS = {"order", "note", "line_texts"}
# Rows whose periods count from another subscription than the step's own zero.
ROW_ZERO = {("01_proration_half_cent", 29, 0): "@none_sub.start_date"}

Json = dict[str, Any]


def scenarios() -> list[Json]:
    """All recorded scenarios."""
    found: list[Json] = json.loads(FILE.read_text())
    return found


@dataclass
class Replay:
    """One scenario on one sandbox."""

    api: Api
    scenario: Json
    bound: dict[str, Json] = field(default_factory=dict)

    def run(self) -> Iterator[tuple[Json, list[str]]]:
        """Every step with what differed from the record."""
        for step in self.scenario["steps"]:
            for variables in _repeats(step):
                yield step, self._step(step, variables)

    def _step(self, step: Json, variables: dict[str, Any]) -> list[str]:
        base = self.scenario["base"]
        if base is not None and "at" in step:
            now = {"now": base + step["at"], "frozen": True}
            self.api.control("POST", "clock", now)
        path = self._text(step["path"], variables)
        params = self._value(step["params"], None, variables)
        answer = self.api.call(step["method"], path, params, headers=step.get("headers"))
        if step.get("binds_as"):
            self.bound[self._text(step["binds_as"], variables)] = answer.body
        return list(self._differences(step, answer, variables))

    def _differences(self, step: Json, answer: Answer, variables: dict[str, Any]) -> Iterator[str]:
        if answer.status != step["status"]:
            yield f"status {answer.status}, recorded {step['status']}: {answer.body}"
            return
        for name, value in step.get("response_headers", {}).items():
            if answer.headers.get(name) != value:
                yield f"header {name}: {answer.headers.get(name)}"
        for key, recorded in step["expect"].items():
            if key in _AIDS:
                continue
            wanted = self._value(recorded, answer.body, variables)
            if key in ("items", "lines", "data") and wanted and isinstance(wanted[0], list):
                yield from self._rows(step, answer.body, key, wanted)
                continue
            problem = _compare(key, wanted, answer.body)
            if problem:
                yield problem
        yield from self._texts(step, answer.body)

    def _rows(self, step: Json, body: Json, key: str, wanted: list[list[Any]]) -> Iterator[str]:
        rows = body[key] if key == "data" else body[key]["data"]
        if len(rows) != len(wanted):
            yield f"{key}: {len(rows)} rows, recorded {len(wanted)}"
            return
        for place, (row, expected) in enumerate(zip(rows, wanted, strict=True)):
            spot = (self.scenario["id"], step["n"], place)
            zero = self._value(ROW_ZERO.get(spot, step.get("t0", 0)), body, {})
            seen = _row(key, row, zero)
            if "{" in str(expected[3]):
                seen[3] = expected[3]  # compared in full as one of the line_texts
            if seen != expected:
                yield f"{key}[{place}]: {seen}, recorded {expected}"

    def _texts(self, step: Json, body: Json) -> Iterator[str]:
        texts = step["expect"].get("line_texts")
        if texts:
            rows = body["data"] if body["object"] == "list" else body["lines"]["data"]
            seen = [row["description"] for row in rows]
            if seen != texts:
                yield f"descriptions {seen}, recorded {texts}"

    def _text(self, text: str, variables: dict[str, Any]) -> str:
        def put(match: re.Match[str]) -> str:
            name, _, form = match[1].partition(":")
            if name in variables:
                return format(variables[name], form)
            return str(_look(self.bound[name.split(".")[0]], name.partition(".")[2]))

        return re.sub(r"\{([\w.:]+)\}", put, text)

    def _value(self, value: Any, body: Json | None, variables: dict[str, Any]) -> Any:
        if isinstance(value, dict):
            return {name: self._value(one, body, variables) for name, one in value.items()}
        if isinstance(value, list):
            return [self._value(one, body, variables) for one in value]
        if not isinstance(value, str):
            return value
        reference = re.fullmatch(r"@(\w+)\.([\w.]+?)(?:([+-])(\d+))?", value)
        if reference is None:
            known = all(
                name.split(".")[0] in self.bound or name.split(":")[0] in variables
                for name in re.findall(r"\{([\w.:]+)\}", value)
            )
            return self._text(value, variables) if known else value
        name, path, sign, number = reference.groups()
        found = _look(body if name == "self" else self.bound[name], path)
        return found if sign is None else found + int(number) * (1 if sign == "+" else -1)


def _repeats(step: Json) -> Iterator[dict[str, Any]]:
    if "repeat" not in step:
        yield {}
        return
    ((name, (first, last)),) = step["repeat"].items()
    for number in range(first, last + 1):
        yield {name: number}


def _look(body: Any, path: str) -> Any:
    """A dotted path in an answer; ABSENT where it leads nowhere."""
    for part in path.split("."):
        if isinstance(body, list) and part.isdigit() and int(part) < len(body):
            body = body[int(part)]
        elif isinstance(body, dict) and part in body:
            body = body[part]
        else:
            return ABSENT
    return body


def _compare(key: str, wanted: Any, body: Json) -> str | None:
    seen = _look(body, re.sub(r"(\?|!=|!|\^|~|#|_contains)$", "", key))
    if key.endswith("?"):
        good = (seen not in (None, ABSENT)) == wanted
    elif key.endswith("!="):
        good = seen != wanted
    elif key.endswith("!"):
        good = seen is ABSENT
    elif key.endswith("^"):
        good = isinstance(seen, str) and seen.startswith(wanted)
    elif key.endswith("~"):
        good = isinstance(seen, str) and re.fullmatch(wanted, seen) is not None
    elif key.endswith("#"):
        good = isinstance(seen, list) and len(seen) == wanted
    elif key.endswith("_contains"):
        good = isinstance(seen, str) and all(part in seen for part in wanted)
    else:
        good = seen == wanted
    return None if good else f"{key}: {'absent' if seen is ABSENT else seen!r}, recorded {wanted!r}"


def _row(key: str, row: Json, zero: int) -> list[Any]:
    if key == "items":
        start, end = row["current_period_start"], row["current_period_end"]
        return [row["price"]["id"], row["quantity"], start - zero, end - zero]
    if key == "lines":
        details = row["parent"]["subscription_item_details"]
        credited = details["proration_details"]["credited_items"]
        proration = details["proration"]
    else:
        credited = (row.get("proration_details") or {}).get("credited_items")
        proration = row["proration"]
    seen = [
        row["amount"],
        row["quantity"],
        proration,
        row["description"],
        row["period"]["start"] - zero,
        row["period"]["end"] - zero,
        credited is not None,
        row["pricing"]["price_details"]["price"],
        row["discountable"],
    ]
    if key == "data":
        parent = row["parent"]
        of = parent["subscription_details"]["subscription"] if parent else None
        seen += [row["net_amount"], row["invoice"], of]
    return seen
