"""Doors products and on call"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_constraint(op.f("ck_events_state"), "events", type_="check")
    op.create_check_constraint(
        op.f("ck_events_state"),
        "events",
        "state in ('pending', 'done', 'ignored', 'superseded', 'dead', 'discarded')",
    )
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Text(), nullable=False, comment="tok_..., safe to show and to log"),
        sa.Column("name", sa.Text(), nullable=False, comment="what it is for"),
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 of the secret, in hex"),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "organization_id",
            sa.Text(),
            nullable=True,
            comment="bound to this organization; none: to all of them",
        ),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_tokens_digest")),
    )
    op.create_table(
        "audit_trail",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False, comment="member:ann, token:tok_..., cli:kim"),
        sa.Column(
            "token_id",
            sa.Text(),
            nullable=True,
            comment="the token it came with, when it came through the API",
        ),
        sa.Column("action", sa.Text(), nullable=False, comment="noun.verb: member.activated"),
        sa.Column("subject", sa.Text(), nullable=False, comment="what was acted on: its id"),
        sa.Column("because", sa.Text(), nullable=True, comment="the reason a person gave"),
        sa.Column("before", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("after", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_trail")),
    )
    op.create_index("ix_audit_trail_action", "audit_trail", ["action", "id"], unique=False)
    op.create_index("ix_audit_trail_actor", "audit_trail", ["actor", "id"], unique=False)
    op.create_index(
        "ix_audit_trail_organization_id", "audit_trail", ["organization_id", "id"], unique=False
    )
    op.create_index("ix_audit_trail_subject", "audit_trail", ["subject", "id"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column(
            "request_digest", sa.Text(), nullable=False, comment="SHA-256 of method, path and body"
        ),
        sa.Column("state", sa.Text(), server_default="running", nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state in ('running', 'done')", name=op.f("ck_idempotency_keys_state")),
        sa.PrimaryKeyConstraint("token_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(
        "ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False
    )
    op.create_table(
        "notices",
        sa.Column(
            "id", sa.Text(), nullable=False, comment="ntc_..., the message id of every delivery"
        ),
        sa.Column(
            "type", sa.Text(), nullable=False, comment="seats.limit_reached, review.opened, ..."
        ),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column(
            "audience",
            sa.Text(),
            nullable=True,
            comment="who should hear of it: owner, payer, account_manager",
        ),
        sa.Column(
            "subject", sa.Text(), nullable=False, comment="what it is about; with `type`, told once"
        ),
        sa.Column("summary", sa.Text(), nullable=False, comment="one line for a person"),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False
        ),
        sa.Column(
            "request_id", sa.Text(), nullable=True, comment="the inbox request that delivers it"
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tried_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "answer_status",
            sa.Integer(),
            nullable=True,
            comment="the host's last HTTP status; none: no answer",
        ),
        sa.Column(
            "trouble", sa.Text(), nullable=True, comment="why the last try failed, in a line"
        ),
        sa.Column("holds_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sa.UniqueConstraint("type", "subject", name=op.f("uq_notices_type_subject")),
    )
    op.create_index("ix_notices_created_at", "notices", ["created_at"], unique=False)
    op.create_index(
        "ix_notices_organization_id", "notices", ["organization_id", "created_at"], unique=False
    )
    op.create_index("ix_notices_tried_at", "notices", ["tried_at"], unique=False)
    op.create_index(
        "ix_notices_undelivered",
        "notices",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("delivered_at is null"),
    )
    op.create_table(
        "pauses",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column(
            "value",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="event type, organization",
        ),
        sa.Column("paused_by", sa.Text(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column(
            "paused_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("resumed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resumed_by", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "scope in ('writes', 'type', 'organization')", name=op.f("ck_pauses_scope")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pauses")),
    )
    op.create_index(
        "uq_pauses_open",
        "pauses",
        ["scope", "value"],
        unique=True,
        postgresql_where=sa.text("resumed_at is null"),
    )
    op.create_table(
        "contract_peaks",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("seat_type", sa.Text(), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("period_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("agreed", sa.Integer(), nullable=False),
        sa.Column("peak", sa.Integer(), nullable=False),
        sa.Column("peak_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_contract_peaks_organization_id"),
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "seat_type", "period_start", name=op.f("pk_contract_peaks")
        ),
    )
    op.create_table(
        "contracts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column(
            "quantities",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="seats agreed, by seat type",
        ),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "removals",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="A7, the account manager's decision: allowed, because, by",
        ),
        sa.Column(
            "change",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="none for a record: before, after, adjustment",
        ),
        sa.Column("adjustment_id", sa.Text(), nullable=True),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint("kind in ('monthly', 'annual_upfront')", name=op.f("ck_contracts_kind")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_contracts_organization_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contracts")),
    )
    op.create_index(
        op.f("ix_contracts_organization_id"), "contracts", ["organization_id"], unique=False
    )
    op.create_table(
        "previews",
        sa.Column("id", sa.Text(), nullable=False, comment="prv_..."),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("wanted", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "shown",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="the figures and words a person saw",
        ),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("prorated_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("adjustment_id", sa.Text(), nullable=True, comment="what became of it in Stripe"),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "outcome",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="the answer to whoever applies it again",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_previews_organization_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_previews")),
    )
    op.create_index(
        "ix_previews_organization_id", "previews", ["organization_id", "created_at"], unique=False
    )
    op.create_table(
        "reviews",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column(
            "detail", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False
        ),
        sa.Column(
            "opened_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("grace_ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "reminders", sa.Integer(), server_default="0", nullable=False, comment="sent so far"
        ),
        sa.Column("restricted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_by", sa.Text(), nullable=True),
        sa.Column("closed_because", sa.Text(), nullable=True),
        sa.CheckConstraint("kind in ('enterprise', 'usage')", name=op.f("ck_reviews_kind")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_reviews_organization_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reviews")),
    )
    op.create_index(
        "uq_reviews_open",
        "reviews",
        ["organization_id", "kind"],
        unique=True,
        postgresql_where=sa.text("closed_at is null"),
    )
    op.create_table(
        "usage_signals",
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("month", sa.Text(), nullable=False, comment="2026-11"),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column(
            "currency", sa.Text(), server_default="", nullable=False, comment="empty for orders"
        ),
        sa.Column("value", sa.BigInteger(), nullable=False, comment="a count, or minor units"),
        sa.Column(
            "reported_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint("metric in ('orders', 'gmv')", name=op.f("ck_usage_signals_metric")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_usage_signals_organization_id")
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "month", "metric", "currency", name=op.f("pk_usage_signals")
        ),
    )
    op.create_table(
        "credit_grants",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("period_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("member_id", sa.Text(), nullable=True),
        sa.Column("seat_type", sa.Text(), nullable=False),
        sa.Column(
            "credits", sa.BigInteger(), nullable=False, comment="the product's own units, not money"
        ),
        sa.Column(
            "granted_by", sa.Text(), nullable=False, comment="the event or run that saw it paid"
        ),
        sa.Column(
            "granted_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_credit_grants_organization_id")
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name=op.f("fk_credit_grants_subscription_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_grants")),
        sa.UniqueConstraint(
            "subscription_id",
            "period_start",
            name=op.f("uq_credit_grants_subscription_id_period_start"),
        ),
    )
    op.create_index(
        "ix_credit_grants_organization_id",
        "credit_grants",
        ["organization_id", "period_end"],
        unique=False,
    )
    op.add_column(
        "adjustments",
        sa.Column(
            "actor",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="who asked for it: who, token_id, because; none: nobody did",
        ),
    )
    op.create_index("ix_adjustments_created_at", "adjustments", ["created_at", "id"], unique=False)
    op.add_column(
        "events",
        sa.Column(
            "traceparent",
            sa.Text(),
            nullable=True,
            comment="W3C Trace Context of its receipt, where tracing is on",
        ),
    )
    op.add_column(
        "events",
        sa.Column(
            "tries",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="[]",
            nullable=False,
            comment="how the last ones ended",
        ),
    )
    op.add_column(
        "events",
        sa.Column(
            "decided",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="what the policy said, and the facts it was given",
        ),
    )
    op.add_column(
        "events",
        sa.Column(
            "held_by",
            sa.BigInteger(),
            nullable=True,
            comment="the pause that holds it; due again when that ends",
        ),
    )
    op.add_column("events", sa.Column("wanted_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("events", sa.Column("requeued_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("events", sa.Column("redacted_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_events_failing",
        "events",
        ["error_class"],
        unique=False,
        postgresql_where=sa.text("state = 'pending' and error_class is not null"),
    )
    op.create_index(
        "ix_events_held_by",
        "events",
        ["held_by"],
        unique=False,
        postgresql_where=sa.text("held_by is not null"),
    )
    op.create_index("ix_events_received_at", "events", ["received_at", "id"], unique=False)
    op.create_index(
        "ix_events_requests",
        "events",
        ["organization_id", "received_at"],
        unique=False,
        postgresql_where=sa.text("kind = 'request'"),
    )
    op.create_index(
        "ix_events_to_redact",
        "events",
        ["finished_at"],
        unique=False,
        postgresql_where=sa.text("redacted_at is null and finished_at is not null"),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_events_to_redact",
        table_name="events",
        postgresql_where=sa.text("redacted_at is null and finished_at is not null"),
    )
    op.drop_index(
        "ix_events_requests", table_name="events", postgresql_where=sa.text("kind = 'request'")
    )
    op.drop_index("ix_events_received_at", table_name="events")
    op.drop_index(
        "ix_events_held_by", table_name="events", postgresql_where=sa.text("held_by is not null")
    )
    op.drop_index(
        "ix_events_failing",
        table_name="events",
        postgresql_where=sa.text("state = 'pending' and error_class is not null"),
    )
    op.drop_column("events", "redacted_at")
    op.drop_column("events", "requeued_at")
    op.drop_column("events", "wanted_at")
    op.drop_column("events", "held_by")
    op.drop_column("events", "decided")
    op.drop_column("events", "tries")
    op.drop_column("events", "traceparent")
    op.drop_index("ix_adjustments_created_at", table_name="adjustments")
    op.drop_column("adjustments", "actor")
    op.drop_index("ix_credit_grants_organization_id", table_name="credit_grants")
    op.drop_table("credit_grants")
    op.drop_table("usage_signals")
    op.drop_index(
        "uq_reviews_open", table_name="reviews", postgresql_where=sa.text("closed_at is null")
    )
    op.drop_table("reviews")
    op.drop_index("ix_previews_organization_id", table_name="previews")
    op.drop_table("previews")
    op.drop_index(op.f("ix_contracts_organization_id"), table_name="contracts")
    op.drop_table("contracts")
    op.drop_table("contract_peaks")
    op.drop_index(
        "uq_pauses_open", table_name="pauses", postgresql_where=sa.text("resumed_at is null")
    )
    op.drop_table("pauses")
    op.drop_index(
        "ix_notices_undelivered",
        table_name="notices",
        postgresql_where=sa.text("delivered_at is null"),
    )
    op.drop_index("ix_notices_tried_at", table_name="notices")
    op.drop_index("ix_notices_organization_id", table_name="notices")
    op.drop_index("ix_notices_created_at", table_name="notices")
    op.drop_table("notices")
    op.drop_index("ix_idempotency_keys_created_at", table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_index("ix_audit_trail_subject", table_name="audit_trail")
    op.drop_index("ix_audit_trail_organization_id", table_name="audit_trail")
    op.drop_index("ix_audit_trail_actor", table_name="audit_trail")
    op.drop_index("ix_audit_trail_action", table_name="audit_trail")
    op.drop_table("audit_trail")
    op.drop_table("api_tokens")
