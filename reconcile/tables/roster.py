"""Who is in an organization, and what its settings are."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, Table, Text, text

from reconcile.tables.base import created, metadata, one_of, time

organizations = Table(
    "organizations",
    metadata,
    Column("id", Text, primary_key=True, comment="the host application's own id"),
    Column("name", Text, nullable=False),
    Column("plan", Text, nullable=False, comment="a plan of the catalog"),
    Column("stripe_customer_id", Text, unique=True),
    Column("trial", Boolean, nullable=False, server_default=text("false")),
    created(),
    time("updated_at"),
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
    created(),
    time("updated_at"),
    one_of("status", "invited", "pending", "active", "blocked", "removed"),
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
    time("updated_at"),
)
