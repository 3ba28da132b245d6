"""The prose held against the code: a runbook section for every finding, and the
first steps of the README."""

import re
from pathlib import Path

from reconcile.catalog import load_catalog
from reconcile.envelope import NEEDED_TYPES
from reconcile.members.roster_files import Row, read_file
from reconcile.policy.values import FindingKind
from reconcile.settings import STRIPE_API_VERSION

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_each_finding_has_its_section() -> None:
    part = RUNBOOK.partition("## Findings")[2].partition("\n## Situations")[0]
    assert sorted(re.findall(r"^### (\S+)$", part, re.MULTILINE)) == sorted(FindingKind)


def test_the_endpoint_of_the_readme_is_the_one_that_is_needed() -> None:
    assert f"`{STRIPE_API_VERSION}`" in README
    named = set(re.findall(r"`([a-z]+\.[a-z_.*]+)`", README))
    groups = tuple(name.removesuffix("*") for name in named if name.endswith(".*"))
    missing = {one for one in NEEDED_TYPES if one not in named and not one.startswith(groups)}
    assert not missing


def test_the_rows_of_the_readme_can_be_imported(tmp_path: Path) -> None:
    plans = load_catalog(ROOT / "catalog.example.toml").plans
    examples = re.findall(r" {3}```csv\n(.+?) {3}```", README, re.DOTALL)
    assert len(examples) == 2
    for number, example in enumerate(examples):
        path = tmp_path / f"{number}.csv"
        path.write_text(re.sub(r"^ {3}", "", example, flags=re.MULTILINE), encoding="utf-8")
        for row in read_file(path, None):
            assert isinstance(row, Row), row
            assert row.values.get("plan", "agency") in plans
            role = plans["agency"].rules.roles.get(str(row.values.get("role", "admin")))
            assert role is not None
            assert row.values.get("seat_type", "base") in role.seat_types
