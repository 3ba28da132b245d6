"""All objects, in memory, as the JSON Stripe would show with ids where it expands.

An object that was stored is never changed in place: `edit` gives a copy, `put` stores it. So the
journal can keep what was there before at no cost, and a unit that fails is undone by putting the
old objects back. No rules of Stripe's live here, and nothing here knows HTTP.

Keys that start with an underscore are the sandbox's own and never leave it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

Obj = dict[str, Any]


class Packed(Protocol):
    """A row kept small until it is changed: `seed` makes many of them."""

    def peek(self, name: str) -> Any:
        """One field's value, cheaply; None where it cannot tell."""

    def load(self) -> Obj:
        """The whole object."""

    def encoded(self) -> bytes:
        """What the API answers for it, without expansion."""


Row = Obj | Packed


@dataclass(frozen=True)
class Entry:
    """One change: what was there before, what is there now, and the event it makes, if any."""

    event: str | None
    before: Obj | None
    after: Obj | None

    @property
    def subject(self) -> Obj:
        """The object an event shows: as it is now, or as it was when it is gone."""
        shown = self.after if self.after is not None else self.before
        assert shown is not None, "an entry has a before or an after"
        return shown


@dataclass
class Table:
    """The objects of one type in order of creation, with their indexes."""

    name: str
    prefix: str
    indexed: tuple[str, ...] = ()
    rows: dict[str, Row] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    place: dict[str, int] = field(default_factory=dict)  # deleted ones too: still cursors
    indexes: dict[str, dict[Any, dict[str, None]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.indexes = {name: {} for name in self.indexed}

    def ids(self, by: tuple[str, Any] | None = None) -> list[str]:
        """Ids in order of creation; `by` is an indexed field and its value."""
        if by is None:
            return self.order
        return sorted(self.indexes[by[0]].get(by[1], ()), key=self.place.__getitem__)


class Store:
    """Tables by object name. Callers hold the world's lock."""

    def __init__(self, tables: Iterable[tuple[str, str, tuple[str, ...]]]) -> None:
        self.tables = {name: Table(name, prefix, indexed) for name, prefix, indexed in tables}
        self._by_prefix = {table.prefix: table for table in self.tables.values()}
        self._journal: list[Entry] | None = None
        self._undo: list[tuple[Table, str, Row | None]] = []

    def new_id(self, name: str) -> str:
        """A fresh id with the prefix of the type."""
        return f"{self.tables[name].prefix}_1{secrets.token_hex(11)}"

    def get(self, name: str, object_id: str) -> Obj | None:
        """The stored object, to read only, or None."""
        row = self.tables[name].rows.get(object_id)
        return row if row is None or isinstance(row, dict) else row.load()

    def need(self, name: str, object_id: str) -> Obj:
        """An object that must exist because another one names it."""
        found = self.get(name, object_id)
        assert found is not None, f"{name} {object_id} is referred to but not stored"
        return found

    def find(self, object_id: str) -> Obj | None:
        """Whatever object has this id: how `expand` resolves references."""
        table = self._by_prefix.get(object_id.rpartition("_")[0])
        if table is not None and object_id in table.rows:
            return self.get(table.name, object_id)
        for other in self.tables.values():  # ids that the client chose have no prefix
            if object_id in other.rows:
                return self.get(other.name, object_id)
        return None

    def edit(self, name: str, object_id: str) -> Obj:
        """A private copy to change and `put`."""
        return copy(self.need(name, object_id))

    def all(self, name: str, by: tuple[str, Any] | None = None) -> Iterator[Obj]:
        """Objects in order of creation, to read only."""
        for object_id in list(self.tables[name].ids(by)):
            found = self.get(name, object_id)
            if found is not None:  # `order` keeps the place of deleted ones
                yield found

    def put(self, obj: Obj, *events: str) -> Obj:
        """Store a new or changed object and note the events; returns what is stored."""
        table = self.tables[obj["object"]]
        object_id = obj["id"]
        old = table.rows.get(object_id)
        before = old if old is None or isinstance(old, dict) else old.load()
        self._note(table, object_id, old)
        self._place(table, object_id, obj)
        if self._journal is not None:
            for event in events or (None,):
                self._journal.append(Entry(event, before, obj))
        return obj

    def bulk(self, name: str, rows: Iterable[tuple[str, Row]]) -> int:
        """Store many rows without events or undo: for seeding only. Returns how many."""
        table = self.tables[name]
        count = 0
        for object_id, row in rows:
            self._place(table, object_id, row)
            count += 1
        return count

    def delete(self, name: str, object_id: str, *events: str) -> Obj:
        """Remove an object; its place in lists stays valid as a cursor."""
        table = self.tables[name]
        before = self.need(name, object_id)
        self._note(table, object_id, table.rows[object_id])
        self._forget(table, object_id)
        if self._journal is not None:
            for event in events or (None,):
                self._journal.append(Entry(event, before, None))
        return before

    @contextmanager
    def unit(self, keep: Callable[[BaseException], bool]) -> Iterator[list[Entry]]:
        """All or nothing: an exception puts everything back unless `keep` says otherwise."""
        assert self._journal is None, "units do not nest"
        journal: list[Entry] = []
        self._journal, self._undo = journal, []
        try:
            yield journal
        except BaseException as problem:
            if not keep(problem):
                self._roll_back()
                journal.clear()
            raise
        finally:
            self._journal, self._undo = None, []

    def _note(self, table: Table, object_id: str, old: Row | None) -> None:
        if self._journal is not None:
            self._undo.append((table, object_id, old))

    def _roll_back(self) -> None:
        for table, object_id, old in reversed(self._undo):
            if old is not None:
                self._place(table, object_id, old)
            else:
                self._forget(table, object_id)

    def _place(self, table: Table, object_id: str, row: Row) -> None:
        old = table.rows.get(object_id)
        if object_id not in table.place:
            table.place[object_id] = len(table.order)
            table.order.append(object_id)
        table.rows[object_id] = row
        for name, index in table.indexes.items():
            now = _keys(row, name)
            for value in _keys(old, name) - now if old is not None else ():
                index[value].pop(object_id, None)
            for value in now:
                index.setdefault(value, {})[object_id] = None

    def _forget(self, table: Table, object_id: str) -> None:
        row = table.rows.pop(object_id)
        for name, index in table.indexes.items():
            for value in _keys(row, name):
                index[value].pop(object_id, None)


def peek(row: Row, name: str) -> Any:
    """One field of a row; dots reach into hashes, and into every hash of a list."""
    if not isinstance(row, dict):
        return row.peek(name)
    value: Any = row
    for part in name.split("."):
        if isinstance(value, list):
            value = [one.get(part) for one in value]
            continue
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def _keys(row: Row, name: str) -> set[Any]:
    """The index keys of a row: none, one, or one for each entry of a list."""
    value = peek(row, name)
    if isinstance(value, list):
        return set(value)
    return set() if value is None else {value}


def copy(obj: Obj) -> Obj:
    """A deep copy; everything stored is JSON."""
    copied: Obj = orjson.loads(orjson.dumps(obj))
    return copied
