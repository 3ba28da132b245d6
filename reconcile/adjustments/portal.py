"""A way into Stripe's customer portal: card, invoices, billing address (B11).

What customers may do there is Stripe's configuration; `trueup doctor` warns when it lets them edit
quantities. Nothing is kept but who opened it.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from sqlalchemy.orm import Session

from reconcile.acting import refuse_unpermitted
from reconcile.actor import Actor
from reconcile.policy.permits import Deed
from reconcile.policy.values import Refuse
from reconcile.services import Services
from reconcile.store import audit, roster, subscriptions
from reconcile.store.roster import Organization

_THEIRS = Refuse(
    code="not_allowed",
    message="Only the member who pays opens the portal of their own card",
    remedies=("ask the member",),
)


@dataclass(frozen=True, slots=True)
class Opened:
    """A session of the portal; the url is good for minutes and is a secret."""

    url: str


def open_portal(
    services: Services,
    organization_id: str,
    *,
    return_url: str,
    member_id: str | None = None,
    actor: Actor,
) -> Opened | Refuse:
    """Return a session for whoever pays: the organization, or a member for their own seat.

    A member's own card is the member's to see, not their admin's; where it pays for anything else,
    and for the organization's, the plan says who may.

    Raises the errors of a Stripe call.
    """
    if not is_safe(return_url):
        return Refuse(
            code="invalid",
            message="return_url: https, or http to this machine, and no credentials in it",
        )
    with services.sessions() as session:
        organization = roster.organization(session, organization_id)
        if organization is None:
            return Refuse(code="not_found", message="There is no such organization")
        payer = (
            _pays_for(session, organization_id, member_id)
            if member_id
            else organization.stripe_customer_id
        )
        if member_id and payer and _is_theirs_alone(session, organization, payer, member_id):
            refused = None if actor.member_id in {None, member_id} else _THEIRS
        elif payer is None and actor.member_id == member_id:
            refused = None
        else:
            refused = refuse_unpermitted(
                session, services.roster, organization, actor, Deed.OPEN_PORTAL
            )
        if refused:
            return refused
    if payer is None:
        return Refuse(
            code="no_customer",
            message="Nobody pays in Stripe yet",
            remedies=("subscribe first",),
        )
    url = services.stripe.create_portal_session(payer, return_url=return_url)
    with services.sessions.begin() as session:
        audit.record(
            session,
            actor,
            "portal.opened",
            member_id or organization_id,
            organization_id=organization_id,
            after={"customer": payer},
        )
    return Opened(url)


def is_safe(url: str) -> bool:
    """Return whether a browser may be sent there after the portal: encrypted, or not sent away."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return False
    if not host or parts.username is not None or any(c.isspace() or c == "\\" for c in url):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_this_machine(host))


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_theirs_alone(
    session: Session, organization: Organization, payer: str, member_id: str
) -> bool:
    """Return whether the payer is this member's alone: a portal shows all that it pays for."""
    paid = subscriptions.of_customer(session, payer)
    return payer != organization.stripe_customer_id and all(
        (each.organization_id, each.member_id) == (organization.id, member_id) for each in paid
    )


def _pays_for(session: Session, organization_id: str, member_id: str) -> str | None:
    held = subscriptions.of_organization(session, organization_id)
    return next((each.customer_id for each in held if each.member_id == member_id), None)
