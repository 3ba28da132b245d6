"""What runs at night, and what a run compares."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Identity,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from reconcile.tables.base import created, metadata, one_of, time

# A run of the schedule, one per task and night: two schedulers do the work once.
runs = Table(
    "runs",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("task", Text, nullable=False),
    Column("night", Date, nullable=False),
    Column("writes", Boolean, nullable=False, server_default=text("false")),
    Column("state", Text, nullable=False, server_default="running"),
    Column("cursor", Text, comment="the last page finished, to resume from"),
    Column("report", JSONB, nullable=False, server_default="{}"),
    created("started_at"),
    time("seen_at"),
    time("finished_at"),
    one_of("task", "nightly", "gap_audit", "prune"),
    one_of("state", "running", "done", "failed"),
    UniqueConstraint("task", "night"),
)


# What one nightly run saw in Stripe, one row per item; compared with `seats` by sets, then emptied.
# Unlogged on purpose: after a crash of the database the pages are read again.
nightly_seen = Table(
    "nightly_seen",
    metadata,
    Column("run_id", BigInteger, primary_key=True),
    Column("subscription_id", Text, primary_key=True),
    Column("item_id", Text, primary_key=True, comment="empty for one without items"),
    Column("price_id", Text, nullable=False),
    Column("quantity", Integer),
    Column("is_seat", Boolean, nullable=False, comment="its price is a seat type's"),
    Column("is_ours", Boolean, nullable=False, comment="its price is in the catalog, fees too"),
    Column("status", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("organization_id", Text, comment="from the subscription's metadata"),
    Column("cancel_at_period_end", Boolean, nullable=False),
    Column("collection_paused", Boolean, nullable=False),
    Column("schedule_id", Text),
    Column("has_pending_update", Boolean, nullable=False),
    prefixes=["UNLOGGED"],
)


# Every active count, for the length of a nightly run. Below zero: unreadable in the host's view.
nightly_counts = Table(
    "nightly_counts",
    metadata,
    Column("run_id", BigInteger, primary_key=True),
    Column("organization_id", Text, primary_key=True),
    Column("seat_type", Text, primary_key=True),
    Column("active", Integer, nullable=False),
    prefixes=["UNLOGGED"],
)


# What the comparison found: the work of the rest of the run, by work key.
nightly_differs = Table(
    "nightly_differs",
    metadata,
    Column("run_id", BigInteger, primary_key=True),
    Column("work_key", Text, primary_key=True),
    Column("reason", Text, nullable=False, comment="what differs, in a word or two"),
    prefixes=["UNLOGGED"],
)
