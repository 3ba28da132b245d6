"""The runbook held against the code: a section for every kind of finding, and SQL that runs."""

import re
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from reconcile.policy.values import FindingKind

RUNBOOK = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sql\n(.+?);\n```", RUNBOOK, re.DOTALL)
INLINE = re.findall(r'psql "\$DB" -c "([^"]+)"', RUNBOOK)


def test_each_finding_has_its_section() -> None:
    part = RUNBOOK.partition("## Findings")[2].partition("\n## States")[0]
    assert sorted(re.findall(r"^### (\S+)$", part, re.MULTILINE)) == sorted(FindingKind)


@pytest.mark.parametrize("statement", [*BLOCKS, *INLINE])
def test_its_sql_runs_on_the_tables_there_are(engine: Engine, statement: str) -> None:
    with engine.connect() as connection:
        connection.execute(text(statement))
        connection.rollback()


def test_there_is_sql_to_run() -> None:
    assert len(BLOCKS) >= 3
    assert len(INLINE) >= 6
