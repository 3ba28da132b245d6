"""Imports the roster: organizations, members and auto-add settings, all of it or nothing.

The files say how things are now; importing the same ones again changes nothing. Of what they do not
say, a column or a JSON key left out, nothing changes either: who exports no trials must not end
them all. Every organization that changed gets one inbox request in the same transaction, so that
its seats are looked at.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session, sessionmaker

from reconcile.actor import TRUEUP, Actor
from reconcile.catalog import Catalog
from reconcile.errors import TrueupError
from reconcile.members.roster_files import KINDS, Kind, LineError, Row, read_file
from reconcile.store import audit, checkouts
from reconcile.store import roster as roster_store
from reconcile.store import roster_import as store
from reconcile.store.roster import ROSTER_CHANGED

MOST_ERRORS = 50

_STATUSES = ("invited", "pending", "active", "blocked", "removed")
_ROWS_AT_A_TIME = 5_000


class ImportRefused(TrueupError):  # noqa: N818 - named like the others in errors.py
    """Nothing was imported."""

    def __init__(self, errors: Sequence[LineError], *, all_found: bool) -> None:
        super().__init__(f"wrong lines: {len(errors)}{'' if all_found else ' or more'}")
        self.errors = tuple(errors)


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of the rows of one kind."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did, in rows, and how many organizations will be looked at because of it."""

    organizations: Tally = field(default_factory=Tally)
    members: Tally = field(default_factory=Tally)
    auto_add: Tally = field(default_factory=Tally)
    requests: int = 0

    @property
    def changed_something(self) -> bool:
        """Whether any row came, changed or went."""
        tallies = (self.organizations, self.members, self.auto_add)
        return any(each.added or each.changed or each.removed for each in tallies)

    def as_json(self) -> dict[str, object]:
        """Return it as plain values."""
        return asdict(self)


def import_files(  # noqa: PLR0913 - what to import, and how, by name
    sessions: sessionmaker[Session],
    catalog: Catalog,
    paths: Sequence[Path],
    *,
    now: datetime,
    kind: str | None = None,
    replace: bool = False,
    actor: Actor = TRUEUP,
) -> Imported:
    """Import the files in one transaction and return what changed.

    `kind` is one of `roster_files.KINDS` for files that do not tell. With `replace`, members that
    the files do not name are removed from the organizations that they do name. An import that
    changed something is one entry of the audit trail: which files, and how many rows. Raises
    ImportRefused, having changed nothing, with up to 50 wrong lines.
    """
    only = KINDS[kind] if kind else None
    with sessions.begin() as session:
        store.prepare(session, _allowed(catalog))
        staged = _stage(session, catalog, _read(paths, only))
        roster_store.lock_roster(session)
        _refuse(paths, store.broken_before_merge(session, MOST_ERRORS + 1))
        store.merge(session, replace=replace)
        _refuse(paths, store.broken_after_merge(session, MOST_ERRORS + 1))
        requests = store.request_work(session, type=ROSTER_CHANGED, due_at=now)
        checkouts.close_needless(session)
        imported = _imported(staged, store.tally(session), requests)
        if imported.changed_something:
            names = ", ".join(path.name for path in paths)
            audit.record(session, actor, "roster.imported", names, after=imported.as_json())
        return imported


def _allowed(catalog: Catalog) -> Iterator[tuple[str, str, str | None]]:
    for plan in catalog.plans.values():
        for role in plan.rules.roles.values():
            for seat_type in role.seat_types or (None,):
                yield plan.name, role.role, seat_type


def _read(paths: Sequence[Path], only: Kind | None) -> Iterator[tuple[int, Row | LineError]]:
    for number, path in enumerate(paths):
        for found in read_file(path, only):
            yield number, found


def _stage(
    session: Session, catalog: Catalog, found: Iterable[tuple[int, Row | LineError]]
) -> dict[str, int]:
    """Copy the rows into the staging tables, some thousands at a time; returns how many."""
    waiting: dict[str, list[Sequence[object]]] = {name: [] for name in KINDS}
    staged = dict.fromkeys(KINDS, 0)
    errors: list[LineError] = []
    for number, one in found:
        problem = one if isinstance(one, LineError) else _problem(one, catalog)
        if problem:
            errors.append(problem)
            if len(errors) > MOST_ERRORS:
                raise ImportRefused(errors[:MOST_ERRORS], all_found=False)
            continue
        assert isinstance(one, Row)
        rows = waiting[one.kind.name]
        rows.append((number, one.line, one.lacking, *map(one.values.get, one.kind.columns)))
        if len(rows) == _ROWS_AT_A_TIME:
            staged[one.kind.name] += _copy(session, one.kind.name, rows)
    if errors:
        raise ImportRefused(errors, all_found=True)
    for name, rows in waiting.items():
        staged[name] += _copy(session, name, rows)
    return staged


def _copy(session: Session, kind: str, rows: list[Sequence[object]]) -> int:
    count = len(rows)
    if count:
        store.stage(session, kind, ("file", "line", "lacking", *KINDS[kind].columns), rows)
        rows.clear()
    return count


def _problem(row: Row, catalog: Catalog) -> LineError | None:
    """Return what is wrong with a row by itself; what needs other rows is checked in sets."""
    plan, status = row.values.get("plan"), row.values.get("status")
    if plan is not None and plan not in catalog.plans:
        return LineError(
            row.path, row.line, f"plan {plan} is not in the catalog: {', '.join(catalog.plans)}"
        )
    if status is not None and status not in _STATUSES:
        return LineError(row.path, row.line, f"status {status} is none of {', '.join(_STATUSES)}")
    return None


def _refuse(paths: Sequence[Path], broken: Sequence[store.Broken]) -> None:
    if not broken:
        return
    ordered = sorted(broken, key=lambda one: (one.file, one.line))
    errors = [LineError(paths[one.file], one.line, one.message) for one in ordered[:MOST_ERRORS]]
    raise ImportRefused(errors, all_found=len(broken) <= MOST_ERRORS)


def _imported(
    staged: dict[str, int], touched: dict[tuple[str, str], int], requests: int
) -> Imported:
    done = Imported(requests=requests)
    for name, count in staged.items():
        tally: Tally = getattr(done, name)
        tally.added = touched.get((name, "added"), 0)
        tally.changed = touched.get((name, "changed"), 0)
        tally.removed = touched.get((name, "removed"), 0)
        tally.unchanged = count - tally.added - tally.changed
    return done
