"""Roles in the database, each no more than its processes need; for `trueup migrate --roles`.

Three group roles without a login; the user of each process is a member of one, by `admit` or by an
operator's `grant trueup_receiver to my_user`. Who owns the tables (the user of `trueup migrate`)
needs none.

- receiver: inserts events, counts a redelivery, and sees how many wait. No payload, no other table.
- worker: reads and writes rows; the audit trail can only grow. No DDL. For relay, schedule and API.
- report: reads, for dashboards; no bodies of events, no tokens, no stored answers.
"""

from collections.abc import Iterator

from sqlalchemy import Connection, Table, text
from sqlalchemy.orm import Session

from reconcile.tables import metadata

RECEIVER, WORKER, REPORT = ROLES = ("receiver", "worker", "report")

# What the inbox's way in touches of a row that is there already, and what `/readyz` asks.
_COUNTED_BY_THE_RECEIVER = ("deliveries", "last_delivered_at", "due_at")
_SEEN_BY_THE_RECEIVER = (
    *_COUNTED_BY_THE_RECEIVER,
    "id",
    "state",
    "held_by",
    "received_at",
    "wanted_at",
)

_APPEND_ONLY = frozenset({"audit_trail"})
# A nightly run fills and empties these.
_ANALYZED = frozenset({"nightly_seen", "nightly_counts", "nightly_differs"})
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


def admit(session: Session, *, role: str, user: str, password: str) -> None:
    """Let the user sign in with the password and do what the role may, and no more than that.

    Makes the user, or gives one that is there this password. The server is sent the password's
    verifier, so that no log of its statements tells it. Raises sqlalchemy's ProgrammingError when
    the user of this session may not create roles, ValueError for a user that is no plain name, has
    no password, or is the owner of the tables.
    """
    if not user.isidentifier() or not user.isascii() or not user.islower():
        raise ValueError(f"{user!r}: a user that is made here has a plain lower-case name")
    if not password:
        raise ValueError(f"{user} has no password")
    connection = session.connection()
    if session.scalar(text("select current_user")) == user:
        raise ValueError(f"{user} owns the tables: a process wants a user of its own")
    verifier = _verifier(connection, user, password)
    known = session.scalar(text("select 1 from pg_roles where rolname = :user"), {"user": user})
    # Not composed with parameters: statements of this kind take none.
    connection.exec_driver_sql(
        f"{'alter' if known else 'create'} role {user} login password '{verifier}'"
    )
    connection.exec_driver_sql(f"grant {role} to {user}")


def _verifier(connection: Connection, user: str, password: str) -> str:
    """What the server keeps instead of the password; base64 and punctuation without a quote."""
    driver = connection.connection.driver_connection
    assert driver is not None
    made: bytes = driver.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256")
    return made.decode("ascii")


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
        rights += ["maintain"] if table.name in _ANALYZED and maintained else []
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
