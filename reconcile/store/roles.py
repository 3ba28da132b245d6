"""Roles in the database, each no more than its processes need; for `trueup migrate --roles`.

Three group roles without a login; an operator grants one to the user of each process:
`grant trueup_receiver to my_user`. Who owns the tables (the user of `trueup migrate`) needs none.

- receiver: inserts events, counts a redelivery, and sees how many wait. No payload, no other table.
- worker: reads and writes rows; the audit trail can only grow. No DDL. For relay, schedule and API.
- report: reads, for dashboards; no bodies of events, no tokens, no stored answers.
"""

from collections.abc import Iterator

from sqlalchemy import Table, text
from sqlalchemy.orm import Session

from reconcile.tables import metadata

RECEIVER, WORKER, REPORT = "receiver", "worker", "report"

# What the inbox's way in touches of a row that is there already, and what `/readyz` asks.
_COUNTED_BY_THE_RECEIVER = ("deliveries", "last_delivered_at", "due_at")
_SEEN_BY_THE_RECEIVER = (*_COUNTED_BY_THE_RECEIVER, "id", "state", "received_at", "started_at")

_APPEND_ONLY = frozenset({"audit_trail"})
# A nightly run empties these.
_TRUNCATED = frozenset({"nightly_seen", "nightly_counts", "nightly_differs"})
_NOT_REPORTED = frozenset({"api_tokens", "idempotency_keys"})
_COLUMNS_NOT_REPORTED = {
    "audit_trail": frozenset({"before", "after"}),
    "events": frozenset({"payload"}),
    "members": frozenset({"email"}),
}


def names(prefix: str) -> tuple[str, str, str]:
    """Return the names of the three roles."""
    return f"{prefix}_{RECEIVER}", f"{prefix}_{WORKER}", f"{prefix}_{REPORT}"


def grant(session: Session, *, prefix: str = "trueup") -> tuple[str, str, str]:
    """Make the roles or set them right again, and return their names.

    Whatever they were granted before is taken back first. Raises sqlalchemy's ProgrammingError when
    the user may not create roles, ValueError for a prefix that is no plain name.
    """
    if not prefix.isidentifier() or not prefix.islower() or len(prefix) > 40:
        raise ValueError("a role's prefix is a short lower-case name")
    for statement in _statements(session, prefix):
        session.execute(text(statement))
    return names(prefix)


def _statements(session: Session, prefix: str) -> Iterator[str]:
    roles = names(prefix)
    receiver, worker, report = roles
    for role in roles:
        known = session.scalar(text("select 1 from pg_roles where rolname = :role"), {"role": role})
        if not known:
            yield f"create role {role} nologin"
        yield f"revoke all on all tables in schema public from {role}"
        yield f"revoke all on all sequences in schema public from {role}"
        yield f"grant usage on schema public to {role}"
    yield f"grant usage on all sequences in schema public to {worker}"
    yield f"grant insert on events to {receiver}"
    yield f"grant select ({', '.join(_SEEN_BY_THE_RECEIVER)}) on events to {receiver}"
    yield f"grant update ({', '.join(_COUNTED_BY_THE_RECEIVER)}) on events to {receiver}"
    # ANALYZE, which the nightly run does after its copies, is a right of its own since then.
    maintained = session.scalar(text("select current_setting('server_version_num')::int >= 170000"))
    for table in metadata.sorted_tables:
        rights = ["select", "insert"]
        rights += [] if table.name in _APPEND_ONLY else ["update", "delete"]
        rights += ["truncate"] if table.name in _TRUNCATED else []
        rights += ["maintain"] if table.name in _TRUNCATED and maintained else []
        yield f"grant {', '.join(rights)} on {table.name} to {worker}"
        if table.name not in _NOT_REPORTED:
            yield f"grant select ({_reported(table)}) on {table.name} to {report}"
    # `/readyz` and `trueup doctor` compare the version; the import and the nightly run copy through
    # temporary tables.
    yield f"grant select on alembic_version to {worker}"
    database = str(session.scalar(text("select quote_ident(current_database())")))
    yield f"grant temporary on database {database} to {worker}"


def _reported(table: Table) -> str:
    hidden = _COLUMNS_NOT_REPORTED.get(table.name, frozenset())
    return ", ".join(f'"{column.name}"' for column in table.columns if column.name not in hidden)
