"""What a view needs of its request: the services of the process, and the token it came with."""

from flask import current_app, g

from backoffice.api.problems import NotFound, Refused
from backoffice.api.tokens import Scope
from reconcile.policy.values import Refuse
from reconcile.services import Services
from reconcile.store.tokens import Token

SERVICES = "trueup.services"


def services() -> Services:
    """Return the services of this process."""
    found: Services = current_app.extensions[SERVICES]
    return found


def token() -> Token:
    """Return the token of this request."""
    found: Token = g.token
    return found


def need_scope(scope: Scope, what: str) -> None:
    """Refuse a token without this scope, where one value of a request needs more than the rest."""
    if scope not in token().scopes:
        raise Refused(
            Refuse(
                code="scope_missing",
                message=f"The token lacks the scope {scope}: it may not {what}",
                remedies=("use a token with this scope",),
            )
        )


def visible(organization_id: str | None, what: str = "organization") -> None:
    """Raise NotFound when the token is bound to another organization."""
    bound = token().organization_id
    if bound is not None and bound != organization_id:
        raise NotFound(what)


def only(organization_id: str | None) -> str | None:
    """Return the organization that a list is filtered by: the one asked for, or the token's own.

    Raises NotFound when another one is asked for than the token is bound to.
    """
    if organization_id is not None:
        visible(organization_id)
    return organization_id or token().organization_id
