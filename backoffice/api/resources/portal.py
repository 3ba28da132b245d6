"""The way into Stripe's customer portal."""

from typing import Annotated

from pydantic import Field, StringConstraints

from backoffice.api.acting import Acting, actor_of
from backoffice.api.answers import Answer
from backoffice.api.context import services
from backoffice.api.fields import Id, OrganizationPath, View
from backoffice.api.frame import Resource
from reconcile.adjustments.portal import open_portal
from reconcile.policy.values import Refuse

portal = Resource("portal", "Stripe's customer portal: card, invoices, billing address.")

ReturnUrl = Annotated[
    str, StringConstraints(min_length=8, max_length=2000, pattern=r"^https?://[!-~]+$")
]


class PortalWanted(Acting):
    """Where the customer comes back to, and whose portal it is."""

    return_url: ReturnUrl = Field(
        description="Where the portal's link back leads: https, or http to this machine."
    )
    member_id: Id | None = Field(
        default=None,
        description="The member who pays for their own seat; null: whoever pays for the "
        "organization.",
    )


class PortalSession(View):
    """A session of the portal."""

    url: str = Field(description="Send the customer there at once; it is good for minutes.")


@portal.write(
    "/organizations/<organization_id>/portal-session",
    PortalSession,
    scope="billing",
    status=201,
)
def create_session(path: OrganizationPath, body: PortalWanted) -> Answer:
    """Open the customer portal.

    Seats are not changed there: keep `quantity` out of what your portal configuration lets
    customers update. `trueup doctor` warns when it is in.
    """
    opened = open_portal(
        services(),
        path.organization_id,
        return_url=body.return_url,
        member_id=body.member_id,
        actor=actor_of(body),
    )
    return opened if isinstance(opened, Refuse) else (PortalSession.model_validate(opened), 201)
