"""The kinds of values that requests and answers are made of, with their bounds.

Everything that comes in is bounded and free of control characters, so that it can be stored, shown
on a terminal and put into a log line as it is.
"""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

_MOST_SEATS = 1_000_000
_MOST_MINOR = 10**15

# The host application's own id, or one of ours or Stripe's: one segment of a path.
Id = Annotated[
    str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\s/\x00-\x1f\x7f-\x9f]+$")
]
# An id that is new to us: nothing a path, a shell or a log would take for something else.
NewId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:@+-]*$"),
]
# A word of the catalog or of ours: a plan, a role, a seat type, a kind.
Word = Annotated[
    str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.:-]+$")
]
# Words of a person, one line.
Line = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$"
    ),
]
Seats = Annotated[int, Field(ge=0, le=_MOST_SEATS)]
Minor = Annotated[int, Field(ge=0, le=_MOST_MINOR)]
# The number of a row of ours.
RowId = Annotated[int, Field(ge=1, lt=2**63)]
# An offset moves the far ends past what can be read again, and one such row would spoil its lists.
Time = Annotated[
    AwareDatetime,
    Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(3000, 1, 1, tzinfo=UTC)),
]


class Path(BaseModel):
    """The variable parts of a path."""


class OrganizationPath(Path):
    """A path below one organization."""

    organization_id: Id = Field(description="The host application's id of the organization.")


class Query(BaseModel):
    """Query parameters. Unknown ones are refused: a mistyped filter would show everything."""

    model_config = ConfigDict(extra="forbid")


class Body(BaseModel):
    """A request's JSON object, read strictly: `"3"` is no number, an unknown field is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class View(BaseModel):
    """What is answered: built from values that are known to be right."""

    model_config = ConfigDict(from_attributes=True)
