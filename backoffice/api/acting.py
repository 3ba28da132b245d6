"""Who acts: a write may name the member who asks, and why.

The host application has authenticated its user. Whether that member exists, is active and may do it
is decided where the change is made, under the organization's lock, by the plan's rules.
"""

from pydantic import Field

from backoffice.api.context import token
from backoffice.api.fields import Body, Id, Line
from reconcile.actor import Actor


class Reasoned(Body):
    """The part of a staff's write that says why."""

    because: Line | None = Field(
        default=None, description="Why, in a person's words, for the audit trail."
    )


class Acting(Reasoned):
    """The part of a write that a member may ask for: who asks, and why."""

    acting_member_id: Id | None = Field(
        default=None,
        description="The member who asks; the plan's rules decide what they may do. Null: the host "
        "application itself, which may do everything. Always null where members are counted in a "
        "view of yours: then you know what they may do.",
    )


def actor_of(body: Reasoned) -> Actor:
    """Return who acts, for `reconcile` and the audit trail."""
    member_id = body.acting_member_id if isinstance(body, Acting) else None
    token_id = token().id
    return Actor(
        f"member:{member_id}" if member_id else f"token:{token_id}", token_id, body.because
    )
