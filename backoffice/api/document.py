"""The OpenAPI document: made from the declared operations, completed with what the frame answers.

Whatever a view may be answered with before or around it (no token, another scope, a reused key) is
the frame's doing, so it is written down here, once, for every operation.
"""

from typing import Any

from flask_openapi.openapi import OpenAPI
from flask_openapi.utils import get_model_schema

from backoffice.api.codes import described
from backoffice.api.idempotency import HEADER, REPLAYED
from backoffice.api.problems import CONTENT_TYPE, Problem

VERSION = "3.1.0"
# Who implements 3.1 knows this dialect; the library's own default is 3.2, which few tools read yet.
DIALECT = "https://spec.openapis.org/oas/3.1/dialect/base"

ABOUT = """
Keeps Stripe seat billing true. This is the door for the host application's backend.

**Tokens.** `Authorization: Bearer trueup_...`, made by `trueup token create`. A token has scopes
(`read`, `members`, `billing`, `operate`, `contract`) and may be bound to one organization; others
then do not exist for it.

**Who acts.** Every write may name the member who asks (`acting_member_id`) and why (`because`). The
plan's rules decide what that member may do; it is written into the audit trail either way.

**Repeating a write.** Send an `Idempotency-Key` of your own: the same key with the same request is
answered with the first answer, whatever became of the connection. Kept is what was done (2xx) and a
payment that was tried and declined (402). A refusal did nothing and is not kept: once its reason
has passed, the same request under the same key goes through.

**Errors** are `application/problem+json` with a stable `code`, a sentence and the ways out. 202
means that a worker goes on; the same request again tells how far it is.

**Amounts** are integers in the currency's minor unit, named `..._minor`; times are ISO 8601, UTC.

# Codes

Every `code` of a problem, and the way out where the answer has none that is closer.

"""

_ALWAYS = {
    400: "The request cannot be read.",
    401: "No valid token.",
    403: "The token's scope or the acting member's role does not allow it (`not_allowed`).",
    404: "There is no such thing, or the token is bound to another organization.",
    409: "The state of things does not allow it; `code` says what stands in the way.",
    422: "A value of the request cannot be (`invalid`, with `errors`).",
    429: "Too many requests without a valid token from this address.",
    503: "Stripe or the database is away or busy; send the same request again after `Retry-After`.",
}
_OF_WRITES = {
    402: "The payment was declined; nothing was changed.",
    413: "The body is larger than 64 KiB.",
    415: "The body is not `application/json`.",
}
_KEY = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Your own key for this write; kept for at least 24 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
}


def describe(app: OpenAPI) -> dict[str, Any]:
    """Return the document of everything that is registered; to be asked once."""
    document: dict[str, Any] = app.api_doc
    document |= {"openapi": VERSION, "jsonSchemaDialect": DIALECT}
    document["info"]["description"] += described()
    document["components"]["schemas"].pop(app.validation_error_model.__name__)
    schemas = get_model_schema(Problem, mode="serialization")
    for name, schema in {"Problem": schemas, **schemas.pop("$defs", {})}.items():
        document["components"]["schemas"][name] = schema
    for path in document["paths"].values():
        for method, operation in path.items():
            _complete(method, operation, document["components"]["schemas"])
    return document


def _complete(method: str, operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    problems = dict(_ALWAYS)
    if method != "get":
        problems |= _OF_WRITES
        operation.setdefault("parameters", []).append(_KEY)
        _say_when_a_body_is_needed(operation, schemas)
        for answer in operation["responses"].values():
            answer.setdefault("headers", {})[REPLAYED] = {
                "description": "`true` when this is an answer that was given before.",
                "schema": {"type": "string", "enum": ["true"]},
            }
    for status, description in problems.items():
        declared = operation["responses"].get(str(status), {}).get("content", {})
        operation["responses"][str(status)] = {
            "description": description,
            "content": {CONTENT_TYPE: {"schema": _problem_of(declared)}},
        }


def _problem_of(declared: dict[str, Any]) -> dict[str, Any]:
    """Return the operation's own kind of problem, or any. The library's own 422 is a list."""
    schema: dict[str, Any] = declared.get("application/json", {}).get("schema", {})
    return schema if "$ref" in schema else {"$ref": "#/components/schemas/Problem"}


def _say_when_a_body_is_needed(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    if body := operation.get("requestBody"):
        reference = body["content"]["application/json"]["schema"]["$ref"]
        model = schemas[reference.rpartition("/")[2]]
        body["required"] = bool(model.get("required"))
