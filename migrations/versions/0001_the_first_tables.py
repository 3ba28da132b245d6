"""The first tables"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column(
            "id", sa.Text(), nullable=False, comment="Stripe's evt_..., or tru_... for our own"
        ),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column(
            "kind", sa.Text(), nullable=False, comment="snapshot, thin, or request (our own)"
        ),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("api_version", sa.Text(), nullable=True),
        sa.Column("livemode", sa.Boolean(), nullable=True),
        sa.Column(
            "stripe_account",
            sa.Text(),
            nullable=True,
            comment="the connected account, when the event names one",
        ),
        sa.Column(
            "secret_name",
            sa.Text(),
            nullable=True,
            comment="which named secret its signature matched",
        ),
        sa.Column("stripe_created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("object_id", sa.Text(), nullable=True),
        sa.Column("subscription_id", sa.Text(), nullable=True),
        sa.Column("customer_id", sa.Text(), nullable=True),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column(
            "work_key",
            sa.Text(),
            nullable=True,
            comment="what it is worked off with: sub:sub_..., cus:cus_...",
        ),
        sa.Column(
            "payload", sa.LargeBinary(), nullable=False, comment="the raw body, byte for byte"
        ),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column(
            "reason",
            sa.Text(),
            nullable=True,
            comment="one line for a person: why ignored, waiting, dead",
        ),
        sa.Column(
            "outcome", sa.Text(), nullable=True, comment="one line for a person: what was done"
        ),
        sa.Column("error_class", sa.Text(), nullable=True),
        sa.Column("error_fingerprint", sa.Text(), nullable=True),
        sa.Column("superseded_by", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("deliveries", sa.Integer(), server_default="1", nullable=False),
        sa.Column(
            "received_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("last_delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'pending') = (finished_at is null)", name=op.f("ck_events_finished")
        ),
        sa.CheckConstraint("kind in ('snapshot', 'thin', 'request')", name=op.f("ck_events_kind")),
        sa.CheckConstraint(
            "source in ('webhook', 'backfill', 'request')", name=op.f("ck_events_source")
        ),
        sa.CheckConstraint(
            "state in ('pending', 'done', 'ignored', 'superseded', 'dead')",
            name=op.f("ck_events_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index("ix_events_customer_id", "events", ["customer_id", "received_at"], unique=False)
    op.create_index(
        "ix_events_dead",
        "events",
        ["error_fingerprint"],
        unique=False,
        postgresql_where=sa.text("state = 'dead'"),
    )
    op.create_index(
        "ix_events_due_at",
        "events",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index("ix_events_finished_at", "events", ["finished_at"], unique=False)
    op.create_index(
        "ix_events_subscription_id", "events", ["subscription_id", "received_at"], unique=False
    )
    op.create_index(
        "ix_events_work_key",
        "events",
        ["work_key"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "findings",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column(
            "subject",
            sa.Text(),
            nullable=False,
            comment="what it is about: sub_1/voice, org_1, ...",
        ),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column("subscription_id", sa.Text(), nullable=True),
        sa.Column("seat_type", sa.Text(), nullable=True),
        sa.Column("urgent", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "summary", sa.Text(), nullable=False, comment="one line: what is wrong and what to do"
        ),
        sa.Column(
            "detail", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False
        ),
        sa.Column("opened_by", sa.Text(), nullable=True, comment="event id or night"),
        sa.Column(
            "opened_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_findings")),
    )
    op.create_index("ix_findings_organization_id", "findings", ["organization_id"], unique=False)
    op.create_index("ix_findings_subscription_id", "findings", ["subscription_id"], unique=False)
    op.create_index(
        "uq_findings_open",
        "findings",
        ["kind", "subject"],
        unique=True,
        postgresql_where=sa.text("closed_at is null"),
    )
    op.create_table(
        "nightly_counts",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("seat_type", sa.Text(), nullable=False),
        sa.Column("active", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "run_id", "organization_id", "seat_type", name=op.f("pk_nightly_counts")
        ),
        prefixes=["UNLOGGED"],
    )
    op.create_table(
        "nightly_differs",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("work_key", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, comment="what differs, in a word or two"),
        sa.PrimaryKeyConstraint("run_id", "work_key", name=op.f("pk_nightly_differs")),
        prefixes=["UNLOGGED"],
    )
    op.create_table(
        "nightly_seen",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False, comment="empty for one without items"),
        sa.Column("price_id", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=True),
        sa.Column("is_seat", sa.Boolean(), nullable=False, comment="its price is a seat type's"),
        sa.Column(
            "is_ours", sa.Boolean(), nullable=False, comment="its price is in the catalog, fees too"
        ),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column(
            "organization_id", sa.Text(), nullable=True, comment="from the subscription's metadata"
        ),
        sa.Column("cancel_at_period_end", sa.Boolean(), nullable=False),
        sa.Column("collection_paused", sa.Boolean(), nullable=False),
        sa.Column("schedule_id", sa.Text(), nullable=True),
        sa.Column("has_pending_update", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint(
            "run_id", "subscription_id", "item_id", name=op.f("pk_nightly_seen")
        ),
        prefixes=["UNLOGGED"],
    )
    op.create_table(
        "organizations",
        sa.Column("id", sa.Text(), nullable=False, comment="the host application's own id"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False, comment="a plan of the catalog"),
        sa.Column("stripe_customer_id", sa.Text(), nullable=True),
        sa.Column("trial", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organizations")),
        sa.UniqueConstraint("stripe_customer_id", name=op.f("uq_organizations_stripe_customer_id")),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("night", sa.Date(), nullable=False),
        sa.Column("writes", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("state", sa.Text(), server_default="running", nullable=False),
        sa.Column(
            "cursor", sa.Text(), nullable=True, comment="the last page finished, to resume from"
        ),
        sa.Column(
            "report", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False
        ),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state in ('running', 'done', 'failed')", name=op.f("ck_runs_state")),
        sa.CheckConstraint("task in ('nightly', 'gap_audit', 'prune')", name=op.f("ck_runs_task")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("task", "night", name=op.f("uq_runs_task_night")),
    )
    op.create_table(
        "auto_add",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("seat_type", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("ceiling_quantity", sa.Integer(), nullable=True),
        sa.Column(
            "ceiling_minor",
            sa.BigInteger(),
            nullable=True,
            comment="most a period's seats of this type may cost",
        ),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_auto_add_organization_id")
        ),
        sa.PrimaryKeyConstraint("organization_id", "seat_type", name=op.f("pk_auto_add")),
    )
    op.create_table(
        "members",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False, comment="the host application's own id"),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column(
            "seat_type", sa.Text(), nullable=True, comment="none for an Owner who takes no seat"
        ),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status in ('invited', 'pending', 'active', 'blocked', 'removed')",
            name=op.f("ck_members_status"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_members_organization_id")
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_members")),
    )
    op.create_index(
        "ix_members_active",
        "members",
        ["organization_id", "seat_type"],
        unique=False,
        postgresql_where=sa.text("status = 'active'"),
    )
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column(
            "member_id",
            sa.Text(),
            nullable=True,
            comment="own_seat: whose seat this subscription is",
        ),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("interval", sa.Text(), nullable=True),
        sa.Column("billing_mode", sa.Text(), nullable=True),
        sa.Column(
            "cancel_at_period_end", sa.Boolean(), server_default=sa.text("false"), nullable=False
        ),
        sa.Column(
            "collection_paused", sa.Boolean(), server_default=sa.text("false"), nullable=False
        ),
        sa.Column("schedule_id", sa.Text(), nullable=True),
        sa.Column(
            "has_pending_update", sa.Boolean(), server_default=sa.text("false"), nullable=False
        ),
        sa.Column("latest_invoice_id", sa.Text(), nullable=True),
        sa.Column("test_clock_id", sa.Text(), nullable=True),
        sa.Column("trial_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("current_period_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("current_period_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("api_version", sa.Text(), nullable=True),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_subscriptions_organization_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriptions")),
    )
    op.create_index("ix_subscriptions_customer_id", "subscriptions", ["customer_id"], unique=False)
    op.create_index(
        "ix_subscriptions_organization_id", "subscriptions", ["organization_id"], unique=False
    )
    op.create_table(
        "adjustments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False, comment="event id, night, or actor"),
        sa.Column("reason", sa.Text(), nullable=False, comment="one line for a person"),
        sa.Column(
            "changes",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="seat_type, item_id, price_id, from, to",
        ),
        sa.Column(
            "moves",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="[]",
            nullable=False,
            comment="members who move with it",
        ),
        sa.Column("proration_behavior", sa.Text(), nullable=False),
        sa.Column("payment_behavior", sa.Text(), nullable=True),
        sa.Column("proration_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "preview",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="what create_preview answered, reduced to money",
        ),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="1", nullable=False),
        sa.Column("called_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True, comment="one line for a person"),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("stripe_request_id", sa.Text(), nullable=True),
        sa.Column("invoice_id", sa.Text(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("total_minor", sa.BigInteger(), nullable=True),
        sa.Column("starting_balance_minor", sa.BigInteger(), nullable=True),
        sa.Column("amount_due_minor", sa.BigInteger(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'pending') = (finished_at is null)", name=op.f("ck_adjustments_finished")
        ),
        sa.CheckConstraint("kind in ('quantities', 'interval')", name=op.f("ck_adjustments_kind")),
        sa.CheckConstraint(
            "state in ('pending', 'applied', 'refused', 'failed')",
            name=op.f("ck_adjustments_state"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_adjustments_organization_id")
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name=op.f("fk_adjustments_subscription_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adjustments")),
    )
    op.create_index(
        "ix_adjustments_organization_id",
        "adjustments",
        ["organization_id", "created_at"],
        unique=False,
    )
    op.create_index(
        "ix_adjustments_subscription_id",
        "adjustments",
        ["subscription_id", "created_at"],
        unique=False,
    )
    op.create_index(
        "uq_adjustments_in_flight",
        "adjustments",
        ["subscription_id"],
        unique=True,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "seats",
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("seat_type", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("price_id", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False, comment="Q: what we agreed to"),
        sa.Column(
            "stripe_quantity",
            sa.Integer(),
            nullable=True,
            comment="S: what Stripe had when last seen",
        ),
        sa.Column("active_seen", sa.Integer(), nullable=True, comment="A when last read"),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("quantity >= 0", name=op.f("ck_seats_quantity")),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name=op.f("fk_seats_subscription_id")
        ),
        sa.PrimaryKeyConstraint("subscription_id", "seat_type", name=op.f("pk_seats")),
    )
    op.create_table(
        "ledger_lines",
        sa.Column(
            "id", sa.Text(), nullable=False, comment="Stripe's id of the line or pending item"
        ),
        sa.Column("adjustment_id", sa.Text(), nullable=False),
        sa.Column(
            "invoice_id",
            sa.Text(),
            nullable=True,
            comment="none while the item waits for the next invoice",
        ),
        sa.Column("seat_type", sa.Text(), nullable=True),
        sa.Column("price_id", sa.Text(), nullable=True),
        sa.Column("quantity", sa.Integer(), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("proration", sa.Boolean(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("period_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["adjustment_id"], ["adjustments.id"], name=op.f("fk_ledger_lines_adjustment_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_lines")),
    )
    op.create_index(
        op.f("ix_ledger_lines_adjustment_id"), "ledger_lines", ["adjustment_id"], unique=False
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_ledger_lines_adjustment_id"), table_name="ledger_lines")
    op.drop_table("ledger_lines")
    op.drop_table("seats")
    op.drop_index(
        "uq_adjustments_in_flight",
        table_name="adjustments",
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.drop_index("ix_adjustments_subscription_id", table_name="adjustments")
    op.drop_index("ix_adjustments_organization_id", table_name="adjustments")
    op.drop_table("adjustments")
    op.drop_index("ix_subscriptions_organization_id", table_name="subscriptions")
    op.drop_index("ix_subscriptions_customer_id", table_name="subscriptions")
    op.drop_table("subscriptions")
    op.drop_index(
        "ix_members_active", table_name="members", postgresql_where=sa.text("status = 'active'")
    )
    op.drop_table("members")
    op.drop_table("auto_add")
    op.drop_table("runs")
    op.drop_table("organizations")
    op.drop_table("nightly_seen")
    op.drop_table("nightly_differs")
    op.drop_table("nightly_counts")
    op.drop_index(
        "uq_findings_open", table_name="findings", postgresql_where=sa.text("closed_at is null")
    )
    op.drop_index("ix_findings_subscription_id", table_name="findings")
    op.drop_index("ix_findings_organization_id", table_name="findings")
    op.drop_table("findings")
    op.drop_index(
        "ix_events_work_key", table_name="events", postgresql_where=sa.text("state = 'pending'")
    )
    op.drop_index("ix_events_subscription_id", table_name="events")
    op.drop_index("ix_events_finished_at", table_name="events")
    op.drop_index(
        "ix_events_due_at", table_name="events", postgresql_where=sa.text("state = 'pending'")
    )
    op.drop_index("ix_events_dead", table_name="events", postgresql_where=sa.text("state = 'dead'"))
    op.drop_index("ix_events_customer_id", table_name="events")
    op.drop_table("events")
