"""PostgreSQL, killed right after a night that emptied its tables was rolled back, starts again."""

from pathlib import Path

from backoffice.local.postgres import Postgres
from backoffice.local.servers import migrate_database
from reconcile.database import build_engine, build_sessions
from reconcile.store import nightly


def test_the_database_starts_again(tmp_path: Path) -> None:
    """New files of an unlogged table, made in a transaction that is rolled back, keep it away."""
    server = Postgres(tmp_path)
    server.start()
    try:
        server.ensure_database("trueup")
        migrate_database(server.url("trueup"))
        engine = build_engine(server.url("trueup"), pool_size=1)
        with server.connect("trueup") as beside:
            beside.execute("checkpoint")
            with build_sessions(engine)() as session:
                nightly.clear(session)
                nightly.forget_counts(session)
                # Its commit writes down what the other one did so far.
                beside.execute("insert into organizations (id, name, plan) values ('o', 'o', 'p')")
                session.rollback()
        server.process.kill()
        server.start()
        engine.dispose()
    finally:
        server.process.kill()
