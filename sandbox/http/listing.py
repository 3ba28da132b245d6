"""Stripe's lists: newest first, cursors, limits that clamp without a word.

Recorded: limit 0 answers one object and 101 answers 100; a deleted object is still a valid
cursor, one that never existed is not; `ending_before` pages keep newest first and their
`has_more` looks towards the newer end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from sandbox.http.errors import bad_request, no_such
from sandbox.http.render import list_of, show
from sandbox.http.routes import Context
from sandbox.store import Obj, Row, Table, peek

DEFAULT_LIMIT = 10
MAX_LIMIT = 100

Keep = Callable[[Row], bool]


def limit_of(params: dict[str, Any]) -> int:
    """The page size, clamped to 1..100."""
    asked: int = params.get("limit", DEFAULT_LIMIT)
    return min(MAX_LIMIT, max(1, asked))


def refuse_two_cursors(params: dict[str, Any]) -> None:
    """Stripe takes one cursor at a time."""
    if "starting_after" in params and "ending_before" in params:
        raise bad_request(
            "Received both starting_after and ending_before parameters. Please pass in only one."
        )


def list_page(  # noqa: PLR0913 - all but the first two are options by name
    ctx: Context,
    name: str,
    *,
    by: tuple[str, Any] | None = None,
    keep: Keep | None = None,
    url: str | None = None,
    what: str | None = None,
) -> Obj | bytes:
    """One page of a table. `by` uses an index; `keep` filters; both see stored rows.

    Answers bytes when nothing has to be expanded: rows that are kept encoded stay so.
    """
    params = ctx.params
    table = ctx.world.store.tables[name]
    created = _created_filter(params.get("created"))
    ids = table.ids(by)
    start, step = _window(params, table, ids, what or name)
    wanted = limit_of(params)
    found: list[str] = []
    has_more = False
    position = start
    while 0 <= position < len(ids):
        row = table.rows.get(ids[position])
        if row is not None and created(row) and (keep is None or keep(row)):
            if len(found) == wanted:
                has_more = True
                break
            found.append(ids[position])
        position += step
    if step > 0:
        found.reverse()
    url = url or ctx.request.path
    if not params.get("expand"):
        return _encoded(ctx, table, found, url, has_more)
    data = [show(ctx.world, ctx.world.store.need(name, one)) for one in found]
    return list_of(data, url, has_more=has_more)


def _window(params: dict[str, Any], table: Table, ids: list[str], what: str) -> tuple[int, int]:
    """Where to start in the ids (oldest first), and which way to walk."""
    refuse_two_cursors(params)
    for name, step in (("starting_after", -1), ("ending_before", 1)):
        if name not in params:
            continue
        place = table.place.get(params[name])
        if place is None:
            raise no_such(what, params[name], name, 400)
        if ids is table.order:
            return place + step, step
        older = sum(1 for one in ids if table.place[one] < place)
        here = older < len(ids) and ids[older] == params[name]
        return (older - 1, -1) if step < 0 else (older + (1 if here else 0), 1)
    return len(ids) - 1, -1


def _created_filter(bounds: Any) -> Keep:
    if bounds is None:
        return lambda _row: True
    if isinstance(bounds, int):
        return lambda row: bool(peek(row, "created") == bounds)

    def within(row: Row) -> bool:
        created: int = peek(row, "created")
        return bool(
            created > bounds.get("gt", -1)
            and created >= bounds.get("gte", 0)
            and created < bounds.get("lt", created + 1)
            and created <= bounds.get("lte", created)
        )

    return within


def _encoded(ctx: Context, table: Table, ids: list[str], url: str, has_more: bool) -> bytes:
    parts: list[bytes] = []
    for one in ids:
        row = table.rows[one]
        parts.append(orjson.dumps(show(ctx.world, row)) if isinstance(row, dict) else row.encoded())
    head = b'{"object":"list","url":%b,"has_more":%b,"data":[' % (
        orjson.dumps(url),
        b"true" if has_more else b"false",
    )
    return head + b",".join(parts) + b"]}"


def page_of(ctx: Context, data: Sequence[Obj], url: str, what: str) -> Obj:
    """A page of objects that are at hand in the order to show: items, lines, phases."""
    params = ctx.params
    refuse_two_cursors(params)
    ids = [one["id"] for one in data]
    wanted = limit_of(params)
    for name in ("starting_after", "ending_before"):
        if name in params and params[name] not in ids:
            raise no_such(what, params[name], name, 400)
    if "ending_before" in params:
        until = ids.index(params["ending_before"])
        start = max(0, until - wanted)
        return list_of(list(data[start:until]), url, has_more=start > 0)
    start = ids.index(params["starting_after"]) + 1 if "starting_after" in params else 0
    return list_of(list(data[start : start + wanted]), url, has_more=start + wanted < len(data))
