"""What the staff's doors need: tokens, answers given before, previews, and who did what."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from reconcile.tables.base import created, metadata, one_of, time

# A token is shown once, when it is made; only its digest is kept.
api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", Text, primary_key=True, comment="tok_..., safe to show and to log"),
    Column("name", Text, nullable=False, comment="what it is for"),
    Column("digest", Text, nullable=False, unique=True, comment="SHA-256 of the secret, in hex"),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("organization_id", Text, comment="bound to this organization; none: to all of them"),
    Column("created_by", Text, nullable=False),
    created(),
    time("expires_at"),
    time("last_used_at"),
    time("revoked_at"),
    Column("revoked_by", Text),
)

# What a write answered, by the Idempotency-Key it came with.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("token_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_digest", Text, nullable=False, comment="SHA-256 of method, path and body"),
    Column("state", Text, nullable=False, server_default="running"),
    Column("status", Integer),
    Column("content_type", Text),
    Column("answer", LargeBinary),
    created(),
    time("locked_until", nullable=False),
    one_of("state", "running", "done"),
    Index("ix_idempotency_keys_created_at", "created_at"),
)

# What a person was shown before saving: bound to the roster and quantities it was made from.
previews = Table(
    "previews",
    metadata,
    Column("id", Text, primary_key=True, comment="prv_..."),
    Column("organization_id", Text, ForeignKey("organizations.id"), nullable=False),
    Column("subscription_id", Text, nullable=False),
    Column("wanted", JSONB, nullable=False),
    Column("shown", JSONB, nullable=False, comment="the figures and words a person saw"),
    Column("fingerprint", Text, nullable=False),
    time("prorated_from"),
    Column("actor", Text, nullable=False),
    created(),
    time("expires_at", nullable=False),
    Column("adjustment_id", Text, comment="what became of it in Stripe"),
    time("applied_at"),
    Column("outcome", JSONB, comment="the answer to whoever applies it again"),
    Index("ix_previews_organization_id", "organization_id", "created_at"),
)

# Who did what, when, before and after. Append-only: a trigger refuses UPDATE and DELETE.
audit_trail = Table(
    "audit_trail",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    created("at"),
    Column("organization_id", Text),
    Column("actor", Text, nullable=False, comment="member:ann, token:tok_..., cli:kim"),
    Column("token_id", Text, comment="the token it came with, when it came through the API"),
    Column("action", Text, nullable=False, comment="noun.verb: member.activated"),
    Column("subject", Text, nullable=False, comment="what was acted on: its id"),
    Column("because", Text, comment="the reason a person gave"),
    Column("before", JSONB),
    Column("after", JSONB),
    Index("ix_audit_trail_organization_id", "organization_id", "id"),
    Index("ix_audit_trail_subject", "subject", "id"),
    Index("ix_audit_trail_actor", "actor", "id"),
    Index("ix_audit_trail_action", "action", "id"),
)

# What is held back on purpose, and loses nothing: work stays in the inbox until it is resumed.
pauses = Table(
    "pauses",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("scope", Text, nullable=False),
    Column("value", Text, nullable=False, server_default="", comment="event type, organization"),
    Column("paused_by", Text, nullable=False),
    Column("because", Text, nullable=False),
    created("paused_at"),
    time("resumed_at"),
    Column("resumed_by", Text),
    one_of("scope", "writes", "type", "organization"),
    Index(
        "uq_pauses_open",
        "scope",
        "value",
        unique=True,
        postgresql_where=text("resumed_at is null"),
    ),
)
