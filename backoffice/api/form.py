"""The form of a request: what no view could read is refused before any view sees it.

64 KiB at most, JSON objects only, valid UTF-8, and no NUL, which can be in JSON and cannot be in
PostgreSQL's text.
"""

import re
from http import HTTPStatus
from typing import Any

from flask import Request, Response
from werkzeug.exceptions import RequestEntityTooLarge

from backoffice.api.problems import problem

MAX_BODY_BYTES = 64 * 1024
# What is read: a body without a stated length is cut off there, and one byte more gives it away.
READ_BYTES = MAX_BODY_BYTES + 1
READS = ("GET", "HEAD", "OPTIONS")
# An even number of backslashes before it is an escaped backslash and the letters u0000.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000|\x00")


class JsonRequest(Request):
    """A request whose JSON is read once and strictly, by the model that describes it."""

    def get_json(self, *args: Any, **options: Any) -> Any:
        """Return the body's text: a text is what the library hands on to the model's own reader."""
        del args, options
        return self.get_data(as_text=True) or "{}"


def check(request: Request) -> Response | None:
    """Return the answer to a request that cannot be read, or None.

    Raises RequestEntityTooLarge.
    """
    if "\x00" in request.path or b"%00" in request.query_string:
        return _unreadable("There is a NUL in the path")
    body = b"" if request.method in READS else request.get_data()
    if not body:
        return None
    if len(body) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    if request.mimetype != "application/json":
        return problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "The body must be application/json",
        )
    wrong = _wrong_in(body)
    return _unreadable(wrong) if wrong else None


def _wrong_in(body: bytes) -> str | None:
    if _NUL.search(body):
        return "There is a NUL in the body"
    try:
        body.decode()
    except UnicodeDecodeError:
        return "The body is not UTF-8"
    return None


def _unreadable(detail: str) -> Response:
    return problem(HTTPStatus.BAD_REQUEST, "bad_request", detail)
