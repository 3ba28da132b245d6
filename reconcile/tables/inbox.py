"""What came in and what is to be done: the inbox."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from reconcile.tables.base import created, metadata, one_of, time

# The inbox: the truth about what came in. Whatever starts work is a row here first: Stripe's
# events, events a gap audit brought in, and our own requests (a roster change, a person's change).
# `due_at` is when the row next wants a worker: new rows at once, a hinted or leased row when the
# hint or lease runs out, a retry when its delay is over. Finished rows have `finished_at`.
# A hint moves `due_at` on: since when the row was due before is `wanted_at`, until a worker takes
# it or somebody dates it anew.
events = Table(
    "events",
    metadata,
    Column("id", Text, primary_key=True, comment="Stripe's evt_..., or tru_... for our own"),
    Column("source", Text, nullable=False),
    Column("kind", Text, nullable=False, comment="snapshot, thin, or request (our own)"),
    Column("type", Text, nullable=False),
    Column("api_version", Text),
    Column("livemode", Boolean),
    Column("stripe_account", Text, comment="the connected account, when the event names one"),
    Column("secret_name", Text, comment="which named secret its signature matched"),
    time("stripe_created_at"),
    Column("object_id", Text),
    Column("subscription_id", Text),
    Column("customer_id", Text),
    Column("organization_id", Text),
    Column("work_key", Text, comment="what it is worked off with: sub:sub_..., cus:cus_..."),
    Column("payload", LargeBinary, nullable=False, comment="the raw body, byte for byte"),
    Column("state", Text, nullable=False, server_default="pending"),
    Column("reason", Text, comment="one line for a person: why ignored, waiting, dead"),
    Column("outcome", Text, comment="one line for a person: what was done"),
    Column("error_class", Text),
    Column("error_fingerprint", Text),
    Column("superseded_by", Text),
    Column("traceparent", Text, comment="W3C Trace Context of its receipt, where tracing is on"),
    Column("tries", JSONB, nullable=False, server_default="[]", comment="how the last ones ended"),
    Column("decided", JSONB, comment="what the policy said, and the facts it was given"),
    Column("held_by", BigInteger, comment="the pause that holds it; due again when that ends"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("deliveries", Integer, nullable=False, server_default="1"),
    created("received_at"),
    time("last_delivered_at"),
    time("due_at"),
    time("wanted_at"),
    time("requeued_at"),
    time("started_at"),
    time("finished_at"),
    time("redacted_at"),
    one_of("source", "webhook", "backfill", "request"),
    one_of("kind", "snapshot", "thin", "request"),
    one_of("state", "pending", "done", "ignored", "superseded", "dead", "discarded"),
    CheckConstraint("(state = 'pending') = (finished_at is null)", name="finished"),
    Index("ix_events_due_at", "due_at", postgresql_where=text("state = 'pending'")),
    Index("ix_events_work_key", "work_key", postgresql_where=text("state = 'pending'")),
    Index("ix_events_subscription_id", "subscription_id", "received_at"),
    Index("ix_events_customer_id", "customer_id", "received_at"),
    Index("ix_events_dead", "error_fingerprint", postgresql_where=text("state = 'dead'")),
    # What failed is counted by its class; a row that comes in is not in it.
    Index(
        "ix_events_failing",
        "error_class",
        postgresql_where=text("state = 'pending' and error_class is not null"),
    ),
    Index("ix_events_finished_at", "finished_at"),
    Index(
        "ix_events_to_redact",
        "finished_at",
        postgresql_where=text("redacted_at is null and finished_at is not null"),
    ),
    Index("ix_events_received_at", "received_at", "id"),
    Index(
        "ix_events_requests",
        "organization_id",
        "received_at",
        postgresql_where=text("kind = 'request'"),
    ),
    Index("ix_events_held_by", "held_by", postgresql_where=text("held_by is not null")),
)
