"""From what `reconcile` returned or raised to an HTTP answer. The one place where that is decided.

A view returns a model, a model with its status, a `Refuse`, or a `Response` of its own; it lets
errors through. What is still being worked off is 202, and what is away is 503: either way the same
request may be sent again.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response
from psycopg import errors as postgres
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from backoffice.api.codes import CODES
from backoffice.api.problems import InvalidRequest, Refused, invalid, problem, refused
from reconcile.catalog import NoSuchPrice, UnknownPlan
from reconcile.errors import (
    CardDeclined,
    OutcomeUnknown,
    Paused,
    RateLimited,
    RetryLater,
    StripeKeyRefused,
    StripeRejected,
    StripeUnavailable,
    TrueupError,
    WaitingForRow,
)
from reconcile.members.buying import StillBuying
from reconcile.members.joining import Done, RosterIsTheHosts
from reconcile.policy.values import Refuse
from reconcile.roster import RosterUnreadable

Answer = BaseModel | tuple[BaseModel, int] | Refuse | Done | Response

AGAIN_S = 2
AWAY_S = 5


class Said(BaseModel):
    """What was done, in a line for a person."""

    line: str = Field(description="One line: `active: 3 of 5 Voice seats`.")


class Working(BaseModel):
    """A worker goes on with it. Sending the same request again asks how far it is."""

    code: str = Field(description="`still_working`.")
    detail: str = Field(description="A sentence for a person.")


def of(value: Any) -> Any:
    """Return what Flask understands; other values are left to it."""
    match value:
        case Refuse():
            return refused(value)
        case Done():
            return _json(Said(line=value.line), HTTPStatus.OK)
        case BaseModel():
            return _json(value, HTTPStatus.OK)
        case (BaseModel() as model, int() as status):
            return _json(model, status)
        case _:
            return value


def _json(model: BaseModel, status: int) -> Response:
    return Response(model.model_dump_json(), int(status), content_type="application/json")


def handle_errors(app: Flask) -> None:
    """Turn every error of a view, and of Flask itself, into an answer."""
    app.register_error_handler(Refused, lambda error: refused(error.refuse, **error.extras))
    app.register_error_handler(InvalidRequest, lambda error: invalid(error.error))
    app.register_error_handler(TrueupError, _of_error)
    for away in (OperationalError, InterfaceError, IntegrityError, PoolTimeout, DBAPIError):
        app.register_error_handler(away, _of_database)
    app.register_error_handler(HTTPException, _of_http)
    app.register_error_handler(Exception, _of_defect)


def _of_error(error: TrueupError) -> Response:
    for kind, answer in _ANSWERS:
        if isinstance(error, kind):
            return answer(error)
    return _of_defect(error)


def working(detail: str) -> Response:
    """Return 202: a worker goes on with it."""
    answer = _json(Working(code="still_working", detail=detail), HTTPStatus.ACCEPTED)
    answer.headers["Retry-After"] = str(AGAIN_S)
    return answer


def _of_database(error: Exception) -> Response:
    if isinstance(error, DBAPIError) and not _passes(error):
        return _of_defect(error)
    said = error.orig if isinstance(error, DBAPIError) else error
    structlog.get_logger().warning("database", error=type(said).__name__)
    match said:
        case postgres.QueryCanceled():
            detail = "The database took longer for this than a request may"
            return _away("too_slow", detail, AWAY_S, CODES["too_slow"].way_out)
        case (
            postgres.LockNotAvailable()
            | postgres.DeadlockDetected()
            | postgres.SerializationFailure()
            | postgres.IntegrityError()
        ):
            return _away("try_again", "Others change the same at this moment", AGAIN_S)
        case _:
            return _away("database_away", "The database cannot be reached", AGAIN_S)


def _passes(error: DBAPIError) -> bool:
    """Two that met on one row pass on the next try, as an outage does; wrong SQL does not."""
    passing = (OperationalError, InterfaceError, IntegrityError)
    return isinstance(error, passing) or error.connection_invalidated


def _of_http(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or 500)
    answer = problem(status, status.name.lower(), f"{status.phrase}: {_SAID.get(status, '')}")
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After"):
            answer.headers[name] = value
    return answer


_SAID = {
    HTTPStatus.NOT_FOUND: "there is nothing at this path",
    HTTPStatus.METHOD_NOT_ALLOWED: "this path has other methods",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "a request has at most 64 KiB",
    HTTPStatus.BAD_REQUEST: "the request cannot be read",
}


def _of_defect(error: Exception) -> Response:
    structlog.get_logger().error("request failed", exc_info=error)
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal_error",
        "Something is wrong inside; it was logged under this request's id",
    )


def _away(code: str, detail: str, retry_after_s: int, *closer: str) -> Response:
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        code,
        detail,
        remedies=(*closer, "send the same request again"),
        headers={"Retry-After": str(retry_after_s)},
    )


def _conflict(code: str, detail: str, *remedies: str) -> Response:
    return problem(HTTPStatus.CONFLICT, code, detail, remedies=remedies)


def _declined(error: TrueupError) -> Response:
    del error  # the bank's reason is on the adjustment
    return refused(
        Refuse(
            code="payment_declined",
            message="The payment was declined; nothing was changed",
            remedies=("update the card in the billing portal, then try again",),
        )
    )


def _busy(error: TrueupError) -> Response:
    retry_after_s = error.retry_after_s if isinstance(error, RateLimited) else AGAIN_S
    return _away("busy", str(error), max(1, round(retry_after_s)))


# The first that fits: what is special stands before what it is a kind of.
_ANSWERS: tuple[tuple[type[TrueupError], Callable[[TrueupError], Response]], ...] = (
    (StillBuying, lambda error: working(str(error))),
    (OutcomeUnknown, lambda error: working(str(error))),
    (RateLimited, _busy),
    (StripeUnavailable, lambda _: _away("stripe_away", "Stripe cannot be asked now", AWAY_S)),
    (StripeKeyRefused, lambda _: _away("stripe_away", "Stripe cannot be asked now", AWAY_S)),
    (RetryLater, lambda error: _away("try_again", str(error), AGAIN_S)),
    (
        Paused,
        lambda _: _conflict(
            "paused",
            "Changes are paused by the operator; what was begun goes on when it ends",
            "try again when it is resumed",
        ),
    ),
    (CardDeclined, _declined),
    (StripeRejected, lambda error: _conflict("stripe_refused", str(error))),
    (
        RosterIsTheHosts,
        lambda _: _conflict(
            "members_elsewhere",
            "Members are kept by the host application: change them there",
            "change them in the host application",
        ),
    ),
    (
        RosterUnreadable,
        lambda _: _conflict("counts_unreadable", "Active members cannot be counted at the moment"),
    ),
    (NoSuchPrice, lambda error: _conflict("not_in_catalog", str(error), "add it to the catalog")),
    (UnknownPlan, lambda error: _conflict("not_in_catalog", str(error), "add it to the catalog")),
    (WaitingForRow, lambda error: problem(HTTPStatus.NOT_FOUND, "not_found", str(error))),
)
