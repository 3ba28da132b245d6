"""Every table, as SQLAlchemy Core. PostgreSQL only. Migrations in `migrations/` follow this file.

Text with CHECK constraints instead of enum types: a new state is then an ordinary migration.
Amounts are integers in the currency's minor unit; times are timezone-aware.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _time(name: str, *, nullable: bool = True) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _created(name: str = "created_at") -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def _one_of(column: str, *values: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} in ({listed})", name=column)


# The inbox: the truth about what came in. Whatever starts work is a row here first: Stripe's
# events, events a gap audit brought in, and our own requests (a roster change, a person's change).
# `due_at` is when the row next wants a worker: new rows at once, a hinted or leased row when the
# hint or lease runs out, a retry when its delay is over. Finished rows have `finished_at`.
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
    _time("stripe_created_at"),
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
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("deliveries", Integer, nullable=False, server_default="1"),
    _created("received_at"),
    _time("last_delivered_at"),
    _time("due_at"),
    _time("started_at"),
    _time("finished_at"),
    _one_of("source", "webhook", "backfill", "request"),
    _one_of("kind", "snapshot", "thin", "request"),
    _one_of("state", "pending", "done", "ignored", "superseded", "dead"),
    CheckConstraint("(state = 'pending') = (finished_at is null)", name="finished"),
    Index("ix_events_due_at", "due_at", postgresql_where=text("state = 'pending'")),
    Index("ix_events_work_key", "work_key", postgresql_where=text("state = 'pending'")),
    Index("ix_events_subscription_id", "subscription_id", "received_at"),
    Index("ix_events_customer_id", "customer_id", "received_at"),
    Index("ix_events_dead", "error_fingerprint", postgresql_where=text("state = 'dead'")),
    Index("ix_events_finished_at", "finished_at"),
)

organizations = Table(
    "organizations",
    metadata,
    Column("id", Text, primary_key=True, comment="the host application's own id"),
    Column("name", Text, nullable=False),
    Column("plan", Text, nullable=False, comment="a plan of the catalog"),
    Column("stripe_customer_id", Text, unique=True),
    Column("trial", Boolean, nullable=False, server_default=text("false")),
    _created(),
    _time("updated_at"),
)

members = Table(
    "members",
    metadata,
    Column("organization_id", Text, ForeignKey("organizations.id"), primary_key=True),
    Column("id", Text, primary_key=True, comment="the host application's own id"),
    Column("role", Text, nullable=False),
    Column("seat_type", Text, comment="none for an Owner who takes no seat"),
    Column("status", Text, nullable=False),
    Column("email", Text),
    _created(),
    _time("updated_at"),
    _one_of("status", "invited", "pending", "active", "blocked", "removed"),
    Index(
        "ix_members_active",
        "organization_id",
        "seat_type",
        postgresql_where=text("status = 'active'"),
    ),
)

# B15: off by default, a ceiling per seat type, in seats and in money.
auto_add = Table(
    "auto_add",
    metadata,
    Column("organization_id", Text, ForeignKey("organizations.id"), primary_key=True),
    Column("seat_type", Text, primary_key=True),
    Column("enabled", Boolean, nullable=False, server_default=text("false")),
    Column("ceiling_quantity", Integer),
    Column("ceiling_minor", BigInteger, comment="most a period's seats of this type may cost"),
    _time("updated_at"),
)

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
    _time("trial_end"),
    _time("current_period_start"),
    _time("current_period_end"),
    _time("as_of", nullable=False),
    Column("api_version", Text),
    _time("written_at"),
    _time("deleted_at"),
    _created(),
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
    _time("updated_at"),
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
    Column("reason", Text, nullable=False, comment="one line for a person"),
    Column("changes", JSONB, nullable=False, comment="seat_type, item_id, price_id, from, to"),
    Column("moves", JSONB, nullable=False, server_default="[]", comment="members who move with it"),
    Column("proration_behavior", Text, nullable=False),
    Column("payment_behavior", Text),
    _time("proration_date"),
    Column("preview", JSONB, comment="what create_preview answered, reduced to money"),
    Column("state", Text, nullable=False, server_default="pending"),
    Column("attempt", Integer, nullable=False, server_default="1"),
    _time("called_at"),
    Column("outcome", Text, comment="one line for a person"),
    Column("error_code", Text),
    Column("stripe_request_id", Text),
    Column("invoice_id", Text),
    Column("currency", Text),
    Column("total_minor", BigInteger),
    Column("starting_balance_minor", BigInteger),
    Column("amount_due_minor", BigInteger),
    _created(),
    _time("finished_at"),
    _time("checked_at"),
    _one_of("kind", "quantities", "interval"),
    _one_of("state", "pending", "applied", "refused", "failed"),
    CheckConstraint("(state = 'pending') = (finished_at is null)", name="finished"),
    Index(
        "uq_adjustments_in_flight",
        "subscription_id",
        unique=True,
        postgresql_where=text("state = 'pending'"),
    ),
    Index("ix_adjustments_subscription_id", "subscription_id", "created_at"),
    Index("ix_adjustments_organization_id", "organization_id", "created_at"),
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
    _time("period_start"),
    _time("period_end"),
    _created(),
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
    _created("opened_at"),
    _time("last_seen_at"),
    _time("closed_at"),
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
    _created("started_at"),
    _time("seen_at"),
    _time("finished_at"),
    _one_of("task", "nightly", "gap_audit", "prune"),
    _one_of("state", "running", "done", "failed"),
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
