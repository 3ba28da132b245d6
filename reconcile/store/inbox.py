"""The inbox's way in: what Stripe sent, what a gap audit found, and our own requests.

Working the rows off is `store.work`'s. Nothing here decides; rows arrive decided.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, insert, text
from sqlalchemy.orm import Session

from reconcile import tracing
from reconcile.envelope import InboxRow
from reconcile.tables import events

_COLUMNS = {
    "id": "text",
    "source": "text",
    "kind": "text",
    "type": "text",
    "api_version": "text",
    "livemode": "boolean",
    "stripe_account": "text",
    "secret_name": "text",
    "stripe_created_at": "timestamptz",
    "object_id": "text",
    "subscription_id": "text",
    "customer_id": "text",
    "organization_id": "text",
    "work_key": "text",
    "state": "text",
    "reason": "text",
    "traceparent": "text",
    "deliveries": "integer",
}
_OF_THE_ROW = tuple(name for name in _COLUMNS if name != "deliveries")
_NAMES = ", ".join(_COLUMNS)
_TYPED = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
# Law 2 in one statement: a redelivery makes an unfinished row due now, and is only counted on a
# finished one. `least` leaves a row alone that is due already, and so in its place in the line.
# The rows travel as one JSON text, a sixth of the cost of an array a column; the bodies, which
# must arrive byte for byte, beside it as one array in binary (as text they would be hex).
_ACCEPT = f"""
insert into events ({_NAMES}, payload, received_at, last_delivered_at, due_at, finished_at)
select {_NAMES}, payload, now(), now(),
    case when state = 'pending' then now() end,
    case when state <> 'pending' then now() end
from rows from (
    json_to_recordset(%(rows)s::json) as ({_TYPED}), unnest(%(payloads)b::bytea[])
) as arrived ({_NAMES}, payload)
on conflict (id) do update set
    deliveries = events.deliveries + excluded.deliveries,
    last_delivered_at = excluded.last_delivered_at,
    due_at = case when events.state = 'pending' then least(events.due_at, now())
        else events.due_at end
"""  # noqa: S608 - only the names and types above are put together


def accept(connection: Connection, rows: Sequence[InboxRow]) -> None:
    """Store the rows in one statement, each once: on an autocommit connection it is durable after.

    The same event twice, in `rows` or in the table, is one row whose deliveries are counted.
    Always in the order of their ids, so that two writers at once cannot lock each other out.
    """
    unique: dict[str, InboxRow] = {}
    deliveries: dict[str, int] = {}
    for row in rows:
        unique.setdefault(row.id, row)
        deliveries[row.id] = deliveries.get(row.id, 0) + 1
    ordered = [unique[event_id] for event_id in sorted(unique)]
    if not ordered:
        return
    columns = [
        {name: getattr(row, name) for name in _OF_THE_ROW} | {"deliveries": deliveries[row.id]}
        for row in ordered
    ]
    connection.exec_driver_sql(
        _ACCEPT,
        {"rows": orjson.dumps(columns).decode(), "payloads": [row.payload for row in ordered]},
    )


def add_request(  # noqa: PLR0913 - the values of one row, all by name
    session: Session,
    *,
    type: str,  # noqa: A002 - the inbox's own word
    work_key: str,
    payload: Mapping[str, object],
    due_at: datetime,
    organization_id: str | None = None,
) -> str:
    """Add work that is not Stripe's (`trueup.roster.changed`, ...) and return the row's `tru_` id.

    In the same transaction as the change it reports: one is never there without the other. A
    caller who does the work itself gives a `due_at` after its own lease, so that a crash of it
    leaves a row that comes due.
    """
    request_id = f"tru_{uuid.uuid4().hex}"
    scope, _, named = work_key.partition(":")
    session.execute(
        insert(events).values(
            id=request_id,
            source="request",
            kind="request",
            type=type,
            object_id=named,
            subscription_id=named if scope == "sub" else None,
            customer_id=named if scope == "cus" else None,
            organization_id=named if scope == "org" else organization_id,
            work_key=work_key,
            payload=orjson.dumps(payload),
            traceparent=tracing.traceparent(),
            due_at=due_at,
        )
    )
    return request_id


def dated(at: datetime | ColumnElement[datetime]) -> dict[str, Any]:
    """Return the values that date a row anew: due at this time, and wanted from then on.

    What only makes a row due sooner leaves `wanted_at` alone: it is wanted for as long as before.
    """
    return {"due_at": at, "wanted_at": None}


@dataclass(frozen=True, slots=True)
class Backlog:
    """How far behind the workers are."""

    unfinished: int
    oldest_id: str | None = None
    oldest_age_s: float | None = None


# Counting stops here: readiness, an alert and on-call ask whether many wait, not how many millions.
COUNTED = 10_000

# The lease keeps the look short: what was hinted and not taken is due again within it. Requests
# are dated by the host's clock, and none is wanted before it came in.
_BACKLOG = """
select counted.unfinished, oldest.id, extract(epoch from now() - oldest.since)
from (
    select count(*) as unfinished
    from (select from events where state = 'pending' limit :counted) as page
) as counted left join (
    select id, greatest(received_at, coalesce(wanted_at, due_at)) as since
    from events
    where state = 'pending' and held_by is null
        and (due_at is null or due_at <= now() + make_interval(secs => :lease))
        and (due_at is null or due_at <= now() or wanted_at is not null)
    order by since limit 1
) as oldest on true
"""


def backlog(connection: Connection, *, hint_lease_s: float) -> Backlog:
    """Return the unfinished rows (counted up to 10,000), and which was wanted longest, how long.

    Wanted is what is due and taken by no worker, however often it was hinted: from when it came in,
    or from what it was dated to (a lowering at renewal, a requeued row, a retry, the end of a
    pause). What a pause holds is not wanted. A job longer than the lease counts from the lease's
    end; `job_timeout_s` ends it.
    """
    found = connection.execute(text(_BACKLOG), {"counted": COUNTED, "lease": hint_lease_s}).one()
    return Backlog(found[0], found[1], None if found[2] is None else float(found[2]))
