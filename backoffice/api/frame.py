"""How a resource is declared: its paths, who may call them, and what they answer.

    members = Resource("members", "The people of an organization.")

    @members.read("/organizations/<organization_id>/members", MemberList)
    def list_members(path: OrganizationPath, query: MemberQuery) -> Answer:
        "List members."

`path`, `query` and `body` are models; the document is made from them, from the docstring and from
the declared answer. An operation without a scope cannot be declared.
"""

import inspect
from collections.abc import Callable
from typing import Literal, TypeVar

from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag
from pydantic import BaseModel

from backoffice.api.answers import Answer, Working
from backoffice.api.tokens import Scope

PREFIX = "/v1"

# A view with its own keyword parameters; which of them it takes is what the frame looks at.
View = TypeVar("View", bound=Callable[..., Answer])
Answers = dict[int, type[BaseModel]]


def operation_id(bp_name: str, name: str, path: str, method: str) -> str:
    """Return the name that generated clients give the operation: `members_invite`."""
    del path, method
    return f"{bp_name}_{name}".replace("-", "_")


class Resource(APIBlueprint):
    """The operations on one noun, below `/v1`."""

    def __init__(self, name: str, about: str) -> None:
        super().__init__(
            name,
            __name__,
            abp_tags=[Tag(name=name, description=about)],
            url_prefix=PREFIX,
            operation_id_callback=operation_id,
        )
        self.scopes: dict[str, Scope] = {}

    def read(
        self, rule: str, answer: type[BaseModel], *, scope: Scope = "read"
    ) -> Callable[[View], View]:
        """Declare a GET that answers 200 with the model. A view changes nothing."""
        return self._declare("GET", rule, {200: answer}, scope)

    def write(  # noqa: PLR0913 - what an operation is, all by name
        self,
        rule: str,
        answer: type[BaseModel],
        *,
        scope: Scope,
        method: Literal["POST", "PUT", "PATCH"] = "POST",
        status: int = 200,
        also: Answers | None = None,
        works_on: bool = False,
    ) -> Callable[[View], View]:
        """Declare a write that answers `status` with the model.

        `also` are other good answers; `works_on` adds 202, for what a worker may have to finish.
        """
        answers = {status: answer} | (also or {}) | ({202: Working} if works_on else {})
        return self._declare(method, rule, answers, scope)

    def _declare(
        self, method: str, rule: str, answers: Answers, scope: Scope
    ) -> Callable[[View], View]:
        def declared(view: View) -> View:
            summary, _, description = (inspect.getdoc(view) or "").partition("\n")
            security = [{"bearer": [scope]}]
            if method == "GET":
                security.append({"basic": []})
            declare = getattr(self, method.lower())
            declare(
                rule,
                summary=summary.rstrip("."),
                description=f"{description.strip()}\n\nScope: `{scope}`.".strip(),
                security=security,
                responses=answers,
            )(view)
            self.scopes[f"{self.name}.{view.__name__}"] = scope
            return view

        return declared
