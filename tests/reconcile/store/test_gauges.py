"""What is counted for whoever watches: the many of one kind do not hide the few of another."""

from sqlalchemy import Engine, text

from reconcile.store import gauges

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
    assert found.failing == {"retry": MANY, "waiting": 1}
