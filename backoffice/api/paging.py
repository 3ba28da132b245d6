"""Lists a page at a time: a bounded `limit`, an opaque `cursor`, and the next one in the answer.

A cursor is the place of the last row shown, so rows that come meanwhile neither repeat nor push
others off a page.
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

import orjson
from pydantic import BaseModel, Field, StringConstraints

from backoffice.api.fields import Query
from backoffice.api.problems import Refused
from reconcile.policy.values import Refuse

_MOST = 100
_USUAL = 50

Row = TypeVar("Row")
Shown = TypeVar("Shown", bound=BaseModel)
Place = Sequence[str | int | datetime]
Kind = type[str] | type[int] | type[datetime]


class PageQuery(Query):
    """What every list takes, beside its own filters."""

    limit: Annotated[int, Field(ge=1, le=_MOST)] = Field(
        default=_USUAL, description="Most rows of one answer."
    )
    cursor: Annotated[
        str | None, StringConstraints(max_length=500, pattern=r"^[A-Za-z0-9_=-]+$")
    ] = Field(default=None, description="`next_cursor` of the answer before.")

    def place(self, *kinds: Kind) -> tuple[Any, ...] | None:
        """Return the place to go on after, its parts of these kinds; None for the beginning.

        Raises Refused for what is not one of our cursors.
        """
        if self.cursor is None:
            return None
        try:
            parts = orjson.loads(base64.urlsafe_b64decode(self.cursor.encode()))
            return tuple(_part(part, kind) for part, kind in zip(parts, kinds, strict=True))
        except (binascii.Error, TypeError, ValueError) as error:
            refuse = Refuse(
                code="invalid",
                message="The cursor is not one of this list",
                remedies=("start without a cursor",),
            )
            raise Refused(refuse) from error


def _part(part: object, kind: Kind) -> str | int | datetime:
    """Return one part of a place. Raises ValueError for what no row can have."""
    if kind is datetime and isinstance(part, str):
        moment = datetime.fromisoformat(part)
        if moment.tzinfo is not None:
            return moment
    if kind is int and type(part) is int and abs(part) < 2**63:
        return part
    if kind is str and isinstance(part, str) and "\x00" not in part:
        return part
    raise ValueError(kind)


class Listed(BaseModel, Generic[Shown]):
    """One page. Name the list of a resource by subclassing: `class Members(Listed[Member])`."""

    data: list[Shown] = Field(description="The rows, newest first unless said otherwise.")
    next_cursor: str | None = Field(description="Ask with it for the next page; null at the end.")


def cursor_of(place: Place) -> str:
    """Return the opaque form of a place."""
    return base64.urlsafe_b64encode(orjson.dumps(list(place))).decode()


def page_of(
    rows: Iterable[Row], limit: int, show: Callable[[Row], Shown], place: Callable[[Row], Place]
) -> tuple[list[Shown], str | None]:
    """Return what is shown of the rows and the next cursor. Ask the store for `limit + 1` rows."""
    found = list(rows)
    shown = found[:limit]
    more = len(found) > limit
    return [show(row) for row in shown], cursor_of(place(shown[-1])) if more else None
