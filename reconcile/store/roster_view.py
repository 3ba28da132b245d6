"""Reads the host application's view `organization_id, seat_type, active`. Never writes there.

The view has one row per member with a boolean `active`, or one per seat type with an integer:
`active::int` counts both, and any other type is refused at the start.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, text

COLUMNS = ("organization_id", "seat_type", "active")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?")
_COUNTED_TYPES = {16: "boolean", 20: "bigint", 21: "smallint", 23: "integer"}  # by type oid
_ROWS_AT_A_TIME = 5_000


@dataclass(frozen=True, slots=True)
class ViewCount:
    """One seat type of one organization. `sound` is False for a null or a negative `active`."""

    organization_id: str
    seat_type: str
    active: int
    sound: bool


def quoted(view: str) -> str:
    """Return the view's name, quoted. Raises ValueError when it is not `name` or `schema.name`."""
    if not _NAME.fullmatch(view):
        raise ValueError(f"TRUEUP_ROSTER_VIEW must be `schema.name`, not {view!r}")
    return ".".join(f'"{part}"' for part in view.split("."))


def problem_of(connection: Connection, view: str) -> str | None:
    """Return what is wrong with the view's columns, or None."""
    found = connection.execute(text(f"select * from {quoted(view)} limit 0"))  # noqa: S608 - quoted
    assert found.cursor is not None
    types = {column[0]: column[1] for column in found.cursor.description or ()}
    found.close()
    if missing := [name for name in COLUMNS if name not in types]:
        return f"the view {view} has no column {', '.join(missing)}"
    if types["active"] not in _COUNTED_TYPES:
        return f"the view {view} must have `active` as a boolean or an integer"
    return None


# Through text, because a boolean and a bigint have no other cast in common. What is no number, and
# a sum that no quantity can be, is one organization's trouble, not an error for all of them.
_GROUPED = """
    select organization_id, seat_type,
           case when total between 0 and 2147483647 then total else 0 end::int as active,
           whole and total between 0 and 2147483647 as sound
    from (
        select organization_id::text as organization_id, seat_type::text as seat_type,
               coalesce(sum(counted), 0) as total,
               count(*) = count(counted) and min(counted) >= 0 as whole
        from (
            select organization_id, seat_type,
                   case when active::text in ('true', 'false') then active::text::boolean::int
                        when active::text ~ '^-?[0-9]{{1,18}}$' then active::text::bigint
                   end as counted
            from {view}
            where organization_id is not null and seat_type is not null {only}
        ) as each
        group by 1, 2
    ) as summed
"""

# The whole view may take longer than a question about one organization, and not for ever.
_WHOLE_VIEW = "set local statement_timeout = '10min'"


def counts_of(connection: Connection, view: str, organization_id: str) -> list[ViewCount]:
    """Return the seat types of one organization, as the view has them."""
    # Compared untyped, so that an index on a host's integer or uuid column is used.
    query = _GROUPED.format(view=quoted(view), only="and organization_id = :organization_id")
    rows = connection.execute(text(query), {"organization_id": organization_id})
    return [ViewCount(*row) for row in rows]


def all_counts(connection: Connection, view: str) -> Iterator[ViewCount]:
    """Yield every organization's seat types, a few thousand rows in memory at a time."""
    connection.execute(text(_WHOLE_VIEW))
    query = text(_GROUPED.format(view=quoted(view), only=""))
    options = {"stream_results": True, "yield_per": _ROWS_AT_A_TIME}
    for row in connection.execute(query, execution_options=options):
        yield ViewCount(*row)
