"""What every table is made of: the metadata, its naming, and the columns they all have."""

from sqlalchemy import CheckConstraint, Column, DateTime, MetaData, func

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def time(name: str, *, nullable: bool = True) -> Column[object]:
    """A moment, timezone-aware."""
    return Column(name, DateTime(timezone=True), nullable=nullable)


def created(name: str = "created_at") -> Column[object]:
    """When the row was written."""
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def one_of(column: str, *values: str) -> CheckConstraint:
    """Text with a CHECK instead of an enum type: a new state is then an ordinary migration."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} in ({listed})", name=column)
