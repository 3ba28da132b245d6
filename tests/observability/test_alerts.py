"""The alert rules as Prometheus evaluates them: each is heard when it should be, and not before.

`alerts.test.yml` holds the cases, as Prometheus' own tool reads them. Where that is installed, it
plays them. That each rule has a case of both kinds is seen without it.
"""

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.support.source import ROOT

FOLDER = ROOT / "deploy/prometheus"
RULES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0][
    "rules"
]
CASES: dict[str, Any] = yaml.safe_load((FOLDER / "alerts.test.yml").read_text())

Check = dict[str, Any]


def checks() -> list[Check]:
    """Every look at one alert, in all groups."""
    return [check for group in CASES["tests"] for check in group["alert_rule_test"]]


def heard(name: str) -> list[Check]:
    """The alerts of this name that are expected, with labels and texts."""
    return [each for c in checks() if c["alertname"] == name for each in c.get("exp_alerts", [])]


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_every_rule_is_heard_in_one_case_and_silent_in_another(rule: dict[str, Any]) -> None:
    name = rule["alert"]
    template = re.split(r"{{.*?}}", rule["annotations"]["summary"])
    says = re.compile(".+".join(map(re.escape, template)))
    labels = rule["labels"].items()
    assert any(
        says.fullmatch(each["exp_annotations"]["summary"]) and labels <= each["exp_labels"].items()
        for each in heard(name)
    ), f"no case in which {name} says this"
    quiet = [
        group
        for group in CASES["tests"]
        if {c["alertname"] for c in group["alert_rule_test"]} == {name}
        and not any(c.get("exp_alerts") for c in group["alert_rule_test"])
    ]
    assert quiet, f"no case of its own in which {name} is silent"


def test_a_quiet_installation_wakes_nobody() -> None:
    everything = {rule["alert"] for rule in RULES}
    silent = [
        {c["alertname"] for c in group["alert_rule_test"] if not c.get("exp_alerts")}
        for group in CASES["tests"]
    ]
    assert everything in silent


def test_a_case_is_about_an_alert_that_is_there() -> None:
    assert {check["alertname"] for check in checks()} == {rule["alert"] for rule in RULES}


def test_what_on_call_reads_is_readable() -> None:
    summaries = [each["exp_annotations"]["summary"] for r in RULES for each in heard(r["alert"])]
    for summary in summaries:
        assert not re.search(r"{{|}}|%!|NaN|Inf|<|\d\.\d{3}|\de[+-]\d", summary), summary


@pytest.mark.parametrize(
    "command", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts.test.yml")]
)
def test_prometheus_says_so_too(command: tuple[str, ...]) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool, of Prometheus, is not installed")
    ran = subprocess.run(
        [tool, *command], cwd=FOLDER, capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
