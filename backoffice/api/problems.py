"""Problems: every answer that is not what was asked for, as `application/problem+json` (RFC 9457).

`code` is for programs and stays as it is, `detail` is a sentence for a person, `remedies` are the
ways out. Nothing about the inside is in them.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NoReturn

import orjson
from flask import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backoffice.api.codes import CODES
from reconcile.policy.values import Refuse

CONTENT_TYPE = "application/problem+json"

# A refusal says no to what was asked as things stand; these say it for a reason of their own.
_STATUS_OF_CODE = {
    "not_allowed": HTTPStatus.FORBIDDEN,
    "scope_missing": HTTPStatus.FORBIDDEN,
    "payment_declined": HTTPStatus.PAYMENT_REQUIRED,
    "not_found": HTTPStatus.NOT_FOUND,
    "invalid": HTTPStatus.UNPROCESSABLE_ENTITY,
}
_MOST_ERRORS = 20


class InvalidField(BaseModel):
    """One value of the request that cannot be."""

    field: str = Field(description="Where it is, `seats.voice`.")
    detail: str = Field(description="What is wrong with it.")


class Problem(BaseModel):
    """Why it was not done."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(default="about:blank", description="Always `about:blank`: see `code`.")
    title: str = Field(description="The HTTP status in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="A sentence for a person.")
    code: str = Field(description="Stable and for programs: one of those listed at the top.")
    remedies: list[str] = Field(
        default=[], description="The ways out, each in a few words; there is always one."
    )
    errors: list[InvalidField] = Field(default=[], description="With `invalid`: each value.")


class Refused(Exception):  # noqa: N818 - named for what becomes of the request
    """The request is refused; raised where a view cannot return the refusal itself."""

    def __init__(self, refuse: Refuse, **extras: object) -> None:
        super().__init__(refuse.message)
        self.refuse = refuse
        self.extras = extras


class InvalidRequest(Exception):  # noqa: N818 - named for what it is about
    """The request is not what its model takes."""

    def __init__(self, error: ValidationError) -> None:
        super().__init__("invalid")
        self.error = error


class NotFound(Refused):
    """There is no such thing, or it is not for this token to see: the same answer."""

    def __init__(self, what: str) -> None:
        super().__init__(Refuse(code="not_found", message=f"There is no such {what}"))


class ProblemAnswer(Response):
    """The answer, with its code for those who look at it on its way out."""

    code: str = ""


def problem(  # noqa: PLR0913 - the parts of one answer, all by name
    status: int,
    code: str,
    detail: str,
    *,
    remedies: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
    extras: Mapping[str, Any] | None = None,
) -> ProblemAnswer:
    """Return the answer; `extras` are members of its own (`preview`), as JSON or as a model.

    Without `remedies` the way out is the code's own.
    """
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        "code": code,
        "remedies": list(remedies or (_way_out(code),)),
    }
    answer = ProblemAnswer(
        orjson.dumps(content | dict(extras or {}), default=_plain),
        int(status),
        content_type=CONTENT_TYPE,
    )
    answer.code = code
    answer.headers.update(headers or {})
    return answer


def _way_out(code: str) -> str:
    # What Flask refuses by itself is named after its status, of which there are many.
    return CODES[code].way_out if code in CODES else "look up in the document what the path takes"


def refused(refuse: Refuse, **extras: object) -> Response:
    """Return the answer for a refusal; `refused(refuse, preview=view)` adds a member."""
    status = _STATUS_OF_CODE.get(refuse.code, HTTPStatus.CONFLICT)
    return problem(
        status, refuse.code, refuse.message, remedies=refuse.remedies, extras=dict(extras)
    )


def refuse_invalid(error: ValidationError) -> NoReturn:
    """Raise what `answers` makes a problem of: the library would make a plain answer of a value."""
    raise InvalidRequest(error)


def invalid(error: ValidationError) -> Response:
    """Return the answer for a request that its model does not take. Values are not repeated."""
    wrong = [
        {"field": ".".join(map(str, one["loc"])) or "the body", "detail": one["msg"]}
        for one in error.errors(include_input=False, include_url=False, include_context=False)
    ]
    first = wrong[0]
    return problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid",
        f"{first['field']}: {first['detail']}",
        extras={"errors": wrong[:_MOST_ERRORS]},
    )


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is not JSON")
