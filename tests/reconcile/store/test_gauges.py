"""What is counted for whoever watches: the many of one kind do not hide the few of another."""

from datetime import date, timedelta

from sqlalchemy import Engine, insert, text

from reconcile.store import gauges
from reconcile.tables import runs

# More than any page of rows that are counted.
MANY = 12_000


def test_many_findings_of_one_kind_hide_none_of_another(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(
            text(
                "insert into findings (kind, subject, summary) select 'over_hard_cap', n || '', '' "
                "from generate_series(1, :many) as n "
                "union all select 'roster_unreadable', 'installation', ''"
            ),
            {"many": MANY},
        )
        found = gauges.read(connection, hint_lease_s=20)
    assert found.findings == {"over_hard_cap": MANY, "roster_unreadable": 1}


def test_many_events_that_failed_hide_none_that_waits(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(
            text(
                "insert into events (id, source, kind, type, payload, error_class) "
                "select 'evt_' || n, 'webhook', 'snapshot', 'customer.updated', '', "
                "case when n > cast(:many as int) then 'waiting' else 'retry' end "
                "from generate_series(1, cast(:many as int) + 1) as n"
            ),
            {"many": MANY},
        )
        found = gauges.read(connection, hint_lease_s=20)
    assert found.failing == {"retry": 10_000, "waiting": 1}


def gained(engine: Engine, *nights: int | None) -> int | None:
    """What is told after these nights, each with so many differences; None: without counts."""
    with engine.connect() as connection:
        for number, found in enumerate(nights):
            night = date(2026, 3, 1) + timedelta(days=number)
            problem = "no such view" if found is None else None
            report = {"differing": {"quantity": found} if found else {}, "roster_problem": problem}
            run = {"task": "nightly", "night": night, "state": "done", "finished_at": night}
            connection.execute(insert(runs).values(run | {"report": report}))
        return gauges.read(connection, hint_lease_s=20).differing_gained


def test_what_comes_anew_every_night_is_news_for_a_week(engine: Engine) -> None:
    """Held against the night before alone, it would be news once and never mended."""
    assert gained(engine, 600) is None, "there was nothing before it"
    assert gained(engine, 3, 600) == 597
    assert gained(engine, 3, 600, 610, 590) == 587
    assert gained(engine, 3, *[600] * 7) == 597
    assert gained(engine, 3, *[600] * 8) == 0, "so it is usual here"
    assert gained(engine, 3, *[600] * 4, 5) == 2, "it was mended"
    assert gained(engine, 600, 600, 20) == -580


def test_a_night_without_counts_is_no_measure(engine: Engine) -> None:
    assert gained(engine, 600, None, 600) == 0
    assert gained(engine, None, 600) is None
