"""A host application's own database with the view that members are counted from."""

from dataclasses import dataclass

from sqlalchemy import Engine, text

VIEW = "host_seats"
_CREATE = """
    create view host_seats (organization_id, seat_type, active) as
    select organization_id, seat_type, {active} from counted
    """


@dataclass(frozen=True)
class HostView:
    """The host's table of counts, and the view on it that is read."""

    url: str
    engine: Engine

    def has(self, *statements: str) -> None:
        """Run statements in the host's database."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def open(self) -> None:
        """Make the table and the view."""
        self.has(
            "create table counted (organization_id text, seat_type text, active bigint)",
        )
        self.reopen()

    def counts(self, organization_id: str, **active: int | None) -> None:
        """Say how many of each seat type are active in the organization."""
        with self.engine.begin() as connection:
            given = {"organization": organization_id}
            connection.execute(
                text("delete from counted where organization_id = :organization"), given
            )
            for seat_type, count in active.items():
                connection.execute(
                    text("insert into counted values (:organization, :seat_type, :active)"),
                    given | {"seat_type": seat_type, "active": count},
                )

    def close(self) -> None:
        """Take the view away."""
        self.has(f"drop view {VIEW}")

    def reopen(self, *, active: str = "active") -> None:
        """Bring it back, with this as its column `active`."""
        self.has(f"drop view if exists {VIEW}", _CREATE.format(active=active))
