"""Lists of tables that only grow come in by an index, whichever filter is given alone.

The planner is told to avoid whatever reads a whole table; what it still reads whole has no index.
"""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session, sessionmaker

from reconcile.store import audit, gauges, look, notices
from reconcile.store.look import Filters

Planned = Callable[..., str]

_OTHERS_ROWS = """
    insert into audit_trail (actor, action, subject)
        select 'token:tok_1', 'member.activated', 'mem_' || n from generate_series(1, 2000) as n;
    insert into notices (id, type, subject, summary, delivered_at)
        select 'ntc_' || n, 'x', n, 'x', now() from generate_series(1, 2000) as n;
    analyze audit_trail, notices;
    """


@pytest.fixture
def planned(engine: Engine, sessions: sessionmaker[Session]) -> Planned:
    """Returns how PostgreSQL would run the last query of a read, among many rows of others."""
    with sessions.begin() as session:
        session.execute(text(_OTHERS_ROWS))

    def plan(read: Callable[[Session], object], *avoided: str) -> str:
        asked: list[tuple[str, Any]] = []

        def note(_: Any, __: Any, statement: str, values: Any, *___: Any) -> None:
            asked.append((statement, values))

        with sessions() as session:
            event.listen(engine, "before_cursor_execute", note)
            try:
                read(session)
            finally:
                event.remove(engine, "before_cursor_execute", note)
            for name in ("seqscan", *avoided):
                session.execute(text(f"set local enable_{name} = off"))
            statement, values = asked[-1]
            lines = session.connection().exec_driver_sql(f"explain {statement}", values)
            return "\n".join(lines.scalars())

    return plan


def test_an_organizations_events_come_in_by_all_its_names(planned: Planned) -> None:
    """By its requests, its subscriptions and its customer: each of them has an index."""
    whose = Filters(organization_id="org_1")
    # Without it the newest of all events are read until enough are the organization's.
    plan = planned(lambda session: look.events_page(session, whose, limit=10), "indexscan")
    for name in ("requests", "subscription_id", "customer_id"):
        assert f"Bitmap Index Scan on ix_events_{name}" in plan, plan


@pytest.mark.parametrize("filters", [{"actor": "cli:kim"}, {"action": "pause.begun"}])
def test_who_and_what_of_the_audit_trail(planned: Planned, filters: dict[str, str]) -> None:
    """The trail is never pruned: one person's few entries are not looked for in all of it."""
    (name,) = filters
    plan = planned(lambda session: audit.page(session, **filters))  # type: ignore[arg-type] # by name
    assert f"ix_audit_trail_{name}" in plan, plan


def test_the_newest_notices_are_not_sorted_out_of_all(planned: Planned) -> None:
    plan = planned(notices.page)
    assert "ix_notices_created_at" in plan, plan


def test_what_fails_is_counted_without_a_look_at_all_that_waits(planned: Planned) -> None:
    plan = planned(lambda session: gauges._failing(session.connection()))
    assert "ix_events_failing" in plan, plan


def test_notices_that_wait_are_found_without_those_that_are_out(planned: Planned) -> None:
    for read in (
        lambda session: notices.undelivered(session, limit=100),
        lambda session: notices.page(session, delivered=False),
    ):
        plan = planned(read)
        assert "ix_notices_undelivered" in plan, plan
