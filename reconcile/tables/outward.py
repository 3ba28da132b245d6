"""What the host application is told, and what waits for a person's look."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from reconcile.tables.base import created, metadata, one_of, time

# A notice is a row first, written with what it tells of; its delivery is an inbox request.
notices = Table(
    "notices",
    metadata,
    Column("id", Text, primary_key=True, comment="ntc_..., the message id of every delivery"),
    Column("type", Text, nullable=False, comment="seats.limit_reached, review.opened, ..."),
    Column("organization_id", Text),
    Column("audience", Text, comment="who should hear of it: owner, payer, account_manager"),
    Column("subject", Text, nullable=False, comment="what it is about; with `type`, told once"),
    Column("summary", Text, nullable=False, comment="one line for a person"),
    Column("data", JSONB, nullable=False, server_default="{}"),
    Column("request_id", Text, comment="the inbox request that delivers it"),
    created(),
    time("delivered_at"),
    time("tried_at"),
    Column("answer_status", Integer, comment="the host's last HTTP status; none: no answer"),
    Column("trouble", Text, comment="why the last try failed, in a line"),
    time("holds_until"),
    UniqueConstraint("type", "subject"),
    Index("ix_notices_tried_at", "tried_at"),
    Index("ix_notices_organization_id", "organization_id", "created_at"),
    Index("ix_notices_created_at", "created_at"),
    Index(
        "ix_notices_undelivered",
        "created_at",
        postgresql_where=text("delivered_at is null"),
    ),
)

# C8 and C9: a person has to look. At most one of a kind is open per organization.
reviews = Table(
    "reviews",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("organization_id", Text, ForeignKey("organizations.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", JSONB, nullable=False, server_default="{}"),
    created("opened_at"),
    time("grace_ends_at"),
    Column("reminders", Integer, nullable=False, server_default="0", comment="sent so far"),
    time("restricted_at"),
    time("closed_at"),
    Column("closed_by", Text),
    Column("closed_because", Text),
    one_of("kind", "enterprise", "usage"),
    Index(
        "uq_reviews_open",
        "organization_id",
        "kind",
        unique=True,
        postgresql_where=text("closed_at is null"),
    ),
)

# C9: what the host reports a month. Orders are a count; GMV is in minor units of its currency.
usage_signals = Table(
    "usage_signals",
    metadata,
    Column("organization_id", Text, ForeignKey("organizations.id"), primary_key=True),
    Column("month", Text, primary_key=True, comment="2026-11"),
    Column("metric", Text, primary_key=True),
    Column("currency", Text, primary_key=True, server_default="", comment="empty for orders"),
    Column("value", BigInteger, nullable=False, comment="a count, or minor units"),
    created("reported_at"),
    one_of("metric", "orders", "gmv"),
)

# A4: the grants' ledger, one row per seat and billing period; the pool is the sum of what is live.
credit_grants = Table(
    "credit_grants",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("subscription_id", Text, ForeignKey("subscriptions.id"), nullable=False),
    time("period_start", nullable=False),
    time("period_end", nullable=False),
    Column("organization_id", Text, ForeignKey("organizations.id"), nullable=False),
    Column("member_id", Text),
    Column("seat_type", Text, nullable=False),
    Column("credits", BigInteger, nullable=False, comment="the product's own units, not money"),
    Column("granted_by", Text, nullable=False, comment="the event or run that saw it paid"),
    created("granted_at"),
    UniqueConstraint("subscription_id", "period_start"),
    Index("ix_credit_grants_organization_id", "organization_id", "period_end"),
)

# A6: what was agreed, and each change an account manager recorded. The newest row is in force.
contracts = Table(
    "contracts",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("organization_id", Text, ForeignKey("organizations.id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("quantities", JSONB, nullable=False, comment="seats agreed, by seat type"),
    time("starts_at", nullable=False),
    time("ends_at"),
    Column("removals", JSONB, comment="A7, the account manager's decision: allowed, because, by"),
    Column("change", JSONB, comment="none for a record: before, after, adjustment"),
    Column("adjustment_id", Text),
    Column("recorded_by", Text, nullable=False),
    Column("because", Text, nullable=False),
    created("recorded_at"),
    one_of("kind", "monthly", "annual_upfront"),
)

# The highest active count of a billing period above what was agreed: what is trued up.
contract_peaks = Table(
    "contract_peaks",
    metadata,
    Column("organization_id", Text, ForeignKey("organizations.id"), primary_key=True),
    Column("seat_type", Text, primary_key=True),
    Column("period_start", DateTime(timezone=True), primary_key=True),
    time("period_end"),
    Column("agreed", Integer, nullable=False),
    Column("peak", Integer, nullable=False),
    time("peak_at", nullable=False),
)
