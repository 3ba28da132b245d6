"""Who counts: the active members of an organization by seat type, after the plan's rule.

Counts come from our own member table or from the host's view, never a mixture, and never a guess:
what cannot be read is a `problem` that stops every write. Changing a member is `activation`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from reconcile.catalog import Catalog
from reconcile.database import build_engine
from reconcile.errors import WaitingForOthers
from reconcile.policy.values import PlanRules
from reconcile.settings import Settings
from reconcile.store import roster as store
from reconcile.store import roster_view
from reconcile.store.roster import Organization


class RosterUnreadable(WaitingForOthers):
    """The host's roster view cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The active count of every seat type of the plan, or why there is none.

    `roster_unreadable`: the problem is not this organization's, nobody can be counted.
    """

    by_seat_type: Mapping[str, int] | None
    problem: str | None = None
    roster_unreadable: bool = False

    def of(self, seat_type: str) -> int | None:
        """Return one seat type's active count; None when the roster could not be read."""
        return None if self.by_seat_type is None else self.by_seat_type[seat_type]


@dataclass(frozen=True, slots=True)
class HostView:
    """The host's view, and the engine of the database it lives in (None: our own)."""

    name: str
    engine: Engine | None

    @contextmanager
    def connection(self, session: Session) -> Iterator[Connection]:
        """A connection to read the view with; the session's own where it lives in our database."""
        if self.engine is None:
            # A view that fails must not take the caller's transaction with it.
            with session.begin_nested():
                yield session.connection()
        else:
            with self.engine.connect() as connection:
                yield connection

    def took_our_connection(self, error: SQLAlchemyError) -> bool:
        """Whether the caller's own connection is gone: then it is not about the view."""
        lost = isinstance(error, DBAPIError) and error.connection_invalidated
        return lost and self.engine is None


@dataclass(frozen=True, slots=True)
class Roster:
    """Counts active members from our own tables, or from the host's view where one is set."""

    catalog: Catalog
    view: HostView | None = None

    def check(self, session: Session) -> None:
        """Raise RosterUnreadable when the host's view is missing or has the wrong columns."""
        if self.view is None:
            return
        try:
            with self.view.connection(session) as connection:
                problem = roster_view.problem_of(connection, self.view.name)
        except (SQLAlchemyError, ValueError) as error:
            problem = _first_line(error)
        if problem:
            raise RosterUnreadable(problem)

    def close(self) -> None:
        """Let go of the connections to the host's database."""
        if self.view and self.view.engine:
            self.view.engine.dispose()

    def counts(self, session: Session, organization_id: str) -> Counts:
        """Return the active count of each seat type of the organization's plan.

        Only `active` members count (B12), and none whose role takes no seat (C2). The host's view
        has done the counting itself.
        """
        found = store.organization(session, organization_id)
        if found is None:
            return Counts(by_seat_type=None, problem=f"no organization {organization_id} imported")
        plan = self.catalog.plan(found.plan)
        if self.view is None:
            active = store.active_counts(
                session, organization_id, seatless_roles=seatless_roles(plan.rules)
            )
        else:
            read = self._read_view(session, self.view, organization_id)
            if isinstance(read, Counts):
                return read
            active = read
        return _by_plan(active, found, frozenset(plan.rules.seat_types))

    def all_counts(self, session: Session) -> Iterator[roster_view.ViewCount]:
        """Yield every organization's counts as the host's view has them, in a stream.

        Raises RosterUnreadable where there is no view, or none that can be read.
        """
        if self.view is None:
            raise RosterUnreadable("members are counted from our own tables")
        try:
            with self.view.connection(session) as connection:
                yield from roster_view.all_counts(connection, self.view.name)
        except SQLAlchemyError as error:
            if self.view.took_our_connection(error):
                raise
            raise RosterUnreadable(_first_line(error)) from error

    def _read_view(
        self, session: Session, view: HostView, organization_id: str
    ) -> dict[str, int] | Counts:
        """Return the active counts the view has of one organization, or why there are none."""
        try:
            with view.connection(session) as connection:
                rows = roster_view.counts_of(connection, view.name, organization_id)
        except DataError as error:
            # What it asked with is no value of the view's types: nobody else's trouble.
            return Counts(by_seat_type=None, problem=_first_line(error))
        except SQLAlchemyError as error:
            if view.took_our_connection(error):
                raise
            return Counts(by_seat_type=None, problem=_first_line(error), roster_unreadable=True)
        if unsound := [row.seat_type for row in rows if not row.sound]:
            problem = (
                f"the view {view.name} has no usable `active` for {', '.join(sorted(unsound))} "
                f"of {organization_id}"
            )
            return Counts(by_seat_type=None, problem=problem)
        return {row.seat_type: row.active for row in rows}


def seatless_roles(rules: PlanRules) -> frozenset[str]:
    """Return the roles that take no seat of any type."""
    return frozenset(role.role for role in rules.roles.values() if not role.seat_types)


def _by_plan(
    active: Mapping[str, int], organization: Organization, seat_types: frozenset[str]
) -> Counts:
    strangers = sorted(name for name, count in active.items() if count and name not in seat_types)
    if strangers:
        return Counts(
            by_seat_type=None,
            problem=f"active members of {organization.id} hold {', '.join(strangers)}, "
            f"which the plan {organization.plan} does not have",
        )
    return Counts(by_seat_type={name: active.get(name, 0) for name in sorted(seat_types)})


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).partition("\n")[0]


def build_roster(settings: Settings, catalog: Catalog) -> Roster:
    """Return the roster that the settings ask for.

    Raises ValueError for a view name that is not `name` or `schema.name`.
    """
    if not settings.roster_view:
        return Roster(catalog)
    roster_view.quoted(settings.roster_view)
    url = settings.roster_database_url
    engine = build_engine(url, pool_size=2) if url else None
    return Roster(catalog, HostView(settings.roster_view, engine))
