"""What Stripe has, what was intended, what it cost, and what is wrong."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from reconcile.tables.base import created, metadata, one_of, time

# What we last believed of a Stripe subscription. Ordering is Stripe's: `as_of` is the `created` of
# the newest snapshot believed, or the moment of a fetch. A deleted one stays as a tombstone.
subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("organization_id", Text, ForeignKey("organizations.id"), nullable=False),
    Column("member_id", Text, comment="own_seat: whose seat this subscription is"),
    Column("customer_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("interval", Text),
    Column("billing_mode", Text),
    Column("cancel_at_period_end", Boolean, nullable=False, server_default=text("false")),
    Column("collection_paused", Boolean, nullable=False, server_default=text("false")),
    Column("schedule_id", Text),
    Column("has_pending_update", Boolean, nullable=False, server_default=text("false")),
    Column("latest_invoice_id", Text),
    Column("test_clock_id", Text),
    time("trial_end"),
    time("current_period_start"),
    time("current_period_end"),
    time("as_of", nullable=False),
    Column("api_version", Text),
    time("written_at"),
    time("deleted_at"),
    created(),
    Index("ix_subscriptions_organization_id", "organization_id"),
    Index("ix_subscriptions_customer_id", "customer_id"),
)


# One row per seat type of a subscription: Q (`quantity`, ours) beside S (`stripe_quantity`, last
# seen), and the active count when we last looked, so that a sudden zero is noticed.
seats = Table(
    "seats",
    metadata,
    Column("subscription_id", Text, ForeignKey("subscriptions.id"), primary_key=True),
    Column("seat_type", Text, primary_key=True),
    Column("item_id", Text, nullable=False),
    Column("price_id", Text, nullable=False),
    Column("quantity", Integer, nullable=False, comment="Q: what we agreed to"),
    Column("stripe_quantity", Integer, comment="S: what Stripe had when last seen"),
    Column("active_seen", Integer, comment="A when last read"),
    time("updated_at"),
    CheckConstraint("quantity >= 0", name="quantity"),
)


# One intended change of a subscription. Rows are never deleted; what was intended never changes,
# only the attempt and the outcome are filled in. At most one is pending per subscription.
adjustments = Table(
    "adjustments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("subscription_id", Text, ForeignKey("subscriptions.id"), nullable=False),
    Column("organization_id", Text, ForeignKey("organizations.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("trigger", Text, nullable=False, comment="event id, night, or actor"),
    Column("actor", JSONB, comment="who asked for it: who, token_id, because; none: nobody did"),
    Column("reason", Text, nullable=False, comment="one line for a person"),
    Column("changes", JSONB, nullable=False, comment="seat_type, item_id, price_id, from, to"),
    Column("moves", JSONB, nullable=False, server_default="[]", comment="members who move with it"),
    Column("proration_behavior", Text, nullable=False),
    Column("payment_behavior", Text),
    time("proration_date"),
    Column("preview", JSONB, comment="what create_preview answered, reduced to money"),
    Column("state", Text, nullable=False, server_default="pending"),
    Column("attempt", Integer, nullable=False, server_default="1"),
    time("called_at"),
    Column("outcome", Text, comment="one line for a person"),
    Column("error_code", Text),
    Column("stripe_request_id", Text),
    Column("invoice_id", Text),
    Column("currency", Text),
    Column("total_minor", BigInteger),
    Column("starting_balance_minor", BigInteger),
    Column("amount_due_minor", BigInteger),
    created(),
    time("finished_at"),
    time("checked_at"),
    one_of("kind", "quantities", "interval"),
    one_of("state", "pending", "applied", "refused", "failed"),
    CheckConstraint("(state = 'pending') = (finished_at is null)", name="finished"),
    Index(
        "uq_adjustments_in_flight",
        "subscription_id",
        unique=True,
        postgresql_where=text("state = 'pending'"),
    ),
    Index("ix_adjustments_subscription_id", "subscription_id", "created_at"),
    Index("ix_adjustments_organization_id", "organization_id", "created_at"),
    Index("ix_adjustments_created_at", "created_at", "id"),
)


# The ledger: the invoice lines each adjustment brought, to the minor unit, as Stripe wrote them.
ledger_lines = Table(
    "ledger_lines",
    metadata,
    Column("id", Text, primary_key=True, comment="Stripe's id of the line or pending item"),
    Column("adjustment_id", Text, ForeignKey("adjustments.id"), nullable=False, index=True),
    Column("invoice_id", Text, comment="none while the item waits for the next invoice"),
    Column("seat_type", Text),
    Column("price_id", Text),
    Column("quantity", Integer),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("proration", Boolean, nullable=False),
    Column("description", Text),
    time("period_start"),
    time("period_end"),
    created(),
)


# A drift or an anomaly that a person should see: opened once per subject, closed when it is gone.
findings = Table(
    "findings",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False, comment="what it is about: sub_1/voice, org_1, ..."),
    Column("organization_id", Text),
    Column("subscription_id", Text),
    Column("seat_type", Text),
    Column("urgent", Boolean, nullable=False, server_default=text("false")),
    Column("summary", Text, nullable=False, comment="one line: what is wrong and what to do"),
    Column("detail", JSONB, nullable=False, server_default="{}"),
    Column("opened_by", Text, comment="event id or night"),
    created("opened_at"),
    time("last_seen_at"),
    time("closed_at"),
    Index(
        "uq_findings_open",
        "kind",
        "subject",
        unique=True,
        postgresql_where=text("closed_at is null"),
    ),
    Index("ix_findings_organization_id", "organization_id"),
    Index("ix_findings_subscription_id", "subscription_id"),
)
