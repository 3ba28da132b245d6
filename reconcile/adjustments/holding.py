"""The kill switch, where money would move: nothing is written to Stripe while writes are paused.

Whoever acts for a person asks first and refuses; `guard` is the last word right before a call. What
is decided meanwhile is decided again when the pause ends.
"""

from sqlalchemy.orm import Session

from reconcile.errors import Paused
from reconcile.policy.values import Refuse
from reconcile.store import pauses


def refuse_paused(session: Session, organization_id: str) -> Refuse | None:
    """Return why nothing may be bought or changed for the organization now, or None."""
    pause = pauses.of_writes(session, organization_id)
    if pause is None:
        return None
    return Refuse(
        code="paused",
        message=f"Changes are paused by the operator: {pause.because}",
        remedies=("try again when it is resumed",),
    )


def guard(session: Session, organization_id: str) -> None:
    """Raise Paused when Stripe may not be written to for the organization."""
    if pause := pauses.of_writes(session, organization_id):
        raise Paused(pause.line, pause_id=pause.id)
