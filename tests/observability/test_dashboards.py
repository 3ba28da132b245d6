"""The dashboard and the alert rules, held against the code: what they ask for is told somewhere."""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from reconcile.policy.values import FindingKind
from tests.support.source import ROOT, calls, python_files

ALERTS: dict[str, Any] = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())
RULES: list[dict[str, Any]] = ALERTS["groups"][0]["rules"]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/trueup.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RUNBOOK = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
METRICS_DOC = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")

STATUS_CLASSES = {"2xx", "3xx", "4xx", "5xx"}  # put together of an answer's first digit
SUFFIXES = {
    "Counter": ("_total",),
    "Gauge": ("",),
    "GaugeMetricFamily": ("",),
    "Histogram": ("_bucket", "_sum", "_count"),
}
FUNCTIONS = {"absent", "histogram_quantile", "increase", "max", "rate", "sum", "time", "vector"}
RANGED = {"increase", "rate"}
TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<range>\[(?:\d+[smhd]|\$__rate_interval)\])
    |(?P<number>\d+(?:\.\d+)?)|(?P<name>[a-zA-Z_][a-zA-Z0-9_]*)
    |(?P<operator>=~|!~|!=|>=|<=|==|[-+*/<>=(){},]))""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Declared:
    """A metric as the code declares it."""

    kind: str
    labels: frozenset[str]


def _declared() -> dict[str, Declared]:
    """Every series there is, by its name on the wire."""
    found = {}
    for path in python_files("backoffice", "reconcile", "webhooks", "worker"):
        for kind, call in calls(path):
            first = call.args[0] if call.args else None
            if kind not in SUFFIXES or not isinstance(first, ast.Constant):
                continue
            given = [k.value for k in call.keywords if k.arg == "labels"] + call.args[2:3]
            labels = set(ast.literal_eval(given[0])) if given else set()
            for suffix in SUFFIXES[kind]:
                extra = {"le"} if suffix == "_bucket" else set()
                found[f"{first.value!s}{suffix}"] = Declared(kind, frozenset(labels | extra))
    return found


DECLARED = _declared()
LITERALS = {
    str(node.value)
    for path in python_files("backoffice", "reconcile", "webhooks", "worker")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
} | set(FindingKind)


def expressions() -> Iterator[tuple[str, str]]:
    yield from ((rule["alert"], rule["expr"]) for rule in RULES)
    yield from ((p["title"], target["expr"]) for p in PANELS for target in p["targets"])


def tokens(expression: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(expression.rstrip()):
        match = TOKEN.match(expression, at)
        assert match, f"not PromQL at {expression[at:]!r}"
        assert match.lastgroup
        found.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return found


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_what_is_asked_for_is_told(where: str, expression: str) -> None:
    found = tokens(expression)
    _brackets_match(found)
    series: list[str] = []
    aggregated: list[str] = []
    for place, (kind, text) in enumerate(found):
        after = found[place + 1][1] if place + 1 < len(found) else ""
        if kind == "name" and text not in {"and", "by", "or", "unless"}:
            if after in {"(", "by"}:
                assert text in FUNCTIONS, text
            elif text in DECLARED:
                series.append(text)
                _selector(text, found[place + 1 :])
                # Whether a counter is there needs no range, and what it has come to says nothing.
                there = [t for _, t in found[place - 2 : place]] == ["absent", "("]
                if DECLARED[text].kind in {"Counter", "Histogram"} and not there:
                    assert "range" in {k for k, _ in found[place + 1 : place + 12]}, text
            elif not after.startswith(("=", "!")):
                aggregated.append(text)
        if kind == "name" and text == "by":
            assert after == "("
    assert series, "it asks for nothing"
    known = frozenset.union(*(DECLARED[name].labels for name in series))
    assert set(aggregated) <= known, "grouped by a label that is not there"


def _brackets_match(found: list[tuple[str, str]]) -> None:
    opened: list[str] = []
    for kind, text in found:
        if kind != "operator":
            continue
        if text in "({":
            opened.append(text)
        elif text in ")}":
            assert opened
            assert opened.pop() + text in {"()", "{}"}
    assert not opened


def _selector(series: str, rest: list[tuple[str, str]]) -> None:
    """`{label="value", ...}` behind a series: labels it has, values that the code writes."""
    if not rest or rest[0][1] != "{":
        return
    inside = [text for _, text in rest[1 : [text for _, text in rest].index("}")]]
    for place in range(0, len(inside), 4):
        label, operator, value = inside[place : place + 3]
        assert label in DECLARED[series].labels, f"{series} has no {label}"
        values = value.strip('"').split("|") if "~" in operator else [value.strip('"')]
        assert set(values) <= LITERALS | STATUS_CLASSES, f"nobody writes {values}"


def test_a_wrong_expression_is_found_out() -> None:
    """The test of the test: each of these has been a mistake somebody made."""
    for wrong in (
        "sum(trueup_inbox_deads) > 0",
        "sum by (kind) (trueup_inbox_dead)",
        'sum(trueup_inbox_dead{error="retry"})',
        'sum(trueup_inbox_dead{error_class="retries"})',
        "sum(trueup_worked_off_total)",
        "sum(rate(trueup_worked_off_total[5 minutes]))",
        "sum(trueup_inbox_dead",
        "avrg(trueup_inbox_dead)",
        "1 > 0",
    ):
        with pytest.raises((AssertionError, ValueError)):
            test_what_is_asked_for_is_told("wrong", wrong)


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_every_alert_leads_to_its_section(rule: dict[str, Any]) -> None:
    name = rule["alert"]
    assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"
    assert re.search(rf"^### {name}$", RUNBOOK, re.MULTILINE), f"the runbook lacks {name}"
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"]
    labels = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    assert labels <= set(re.findall(r"by \((\w+)\)", rule["expr"]))
    assert re.fullmatch(r"\d+[mhd]", rule["for"])


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_what_every_relay_tells_is_not_added_up(where: str, expression: str) -> None:
    """Any number of relays may run, and each tells the same: two would double every count."""
    words = [text for _, text in tokens(expression)]
    for place, word in enumerate(words):
        if word in DECLARED and DECLARED[word].kind == "GaugeMetricFamily":
            before = " ".join(words[:place])
            assert re.search(r"\b(max|absent)( by \( \w+ \))? \($", before), f"{where}: {word}"


def test_no_alert_is_on_what_one_process_remembers_of_a_run() -> None:
    """A run by hand counts in a process that nobody scrapes; what was found is in its report."""
    declared = ast.parse((ROOT / "reconcile/metrics.py").read_text(encoding="utf-8"))
    names = {
        node.targets[0].id: str(node.value.args[0].value)
        for node in declared.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.args[0], ast.Constant)
    }
    counted = {
        names[node.attr]
        for path in python_files("reconcile/nights")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in names
    }
    assert "trueup_pruned_events" in counted
    asked = " ".join(rule["expr"] for rule in RULES)
    assert not {name for name in counted if name in asked}


def test_what_is_too_long_ago_is_missed_also_when_it_never_was() -> None:
    told = {(rule["alert"], rule["expr"]) for rule in RULES}
    ages = [(name, re.search(r"time\(\) - max\((.*?)\) >", expr)) for name, expr in told]
    series = {(name, found[1]) for name, found in ages if found}
    assert len(series) == sum("time()" in expr for _, expr in told) >= 3
    assert {(name, f"absent({asked})") for name, asked in series} <= told


def test_the_runbook_tells_of_no_alert_that_is_not_there() -> None:
    assert set(re.findall(r"^### (Trueup\w+)$", RUNBOOK, re.MULTILINE)) == {
        rule["alert"] for rule in RULES
    }


def test_every_metric_is_on_the_dashboard() -> None:
    shown = " ".join(target["expr"] for panel in PANELS for target in panel["targets"])
    names = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in DECLARED}
    assert not {name for name in names if name not in shown}


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_label_is_documented_with_its_metric() -> None:
    for name, declared in DECLARED.items():
        bare = re.sub(r"_(total|bucket|sum|count)$", "", name)
        row = re.search(rf"^\| `{bare}` \|([^|]*)\|", METRICS_DOC, re.MULTILINE)
        assert row, bare
        assert set(re.findall(r"`(\w+)`", row[1])) == declared.labels - {"le"}, bare
