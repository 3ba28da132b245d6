"""Findings closed by hand: those of an invoice, which nothing that happens later makes go away.

All others are refused: a run closes them when it sees that they are gone, and would open them again
while they last. Closing one writes nothing to Stripe and forgets nothing.
"""

from sqlalchemy.orm import Session

from reconcile.actor import Actor
from reconcile.policy.values import CLOSED_BY_HAND, FindingKind, Refuse
from reconcile.services import Services
from reconcile.store import audit, findings, look
from reconcile.store.audit import AuditEntry
from reconcile.store.findings import Finding

_CLOSED = "finding.closed"


def close(services: Services, finding_id: int, actor: Actor) -> Finding | Refuse:
    """Close a finding that a person has seen to, and return it as it is then.

    The same seen once more is a finding of its own. Refused for what a run closes.
    """
    with services.sessions.begin() as session:
        found = look.finding(session, finding_id)
        if found is None:
            return Refuse(
                code="not_found",
                message=f"There is no finding {finding_id}",
                remedies=("trueup findings list",),
            )
        if found.closed_at is None and found.kind not in CLOSED_BY_HAND:
            return _closes_by_itself(found)
        at = services.clock()
        closed = findings.close_one(session, finding_id, at=at)
        if closed is None:
            return _closed_before(session, finding_id)
        audit.record(
            session,
            actor,
            _CLOSED,
            _subject(finding_id),
            organization_id=found.organization_id,
            before={"closed_at": None},
            after={"kind": found.kind, "about": found.subject, "closed_at": at.isoformat()},
        )
        return closed


def closed_by_hand(session: Session, finding_id: int) -> AuditEntry | None:
    """Return who closed the finding, when and why; None of one that is open, or that was gone."""
    entries = audit.page(session, subject=_subject(finding_id), action=_CLOSED, limit=1)
    return next(iter(entries), None)


def what_next(finding: Finding) -> tuple[str, ...]:
    """Return the commands that are worth a look now; none for a finding that is closed."""
    if finding.closed_at is not None:
        return ()
    if finding.kind in CLOSED_BY_HAND:
        adjustment = finding.detail.get("adjustment")
        seen = (f"trueup adjustments show {adjustment}",) if adjustment else ()
        return (*seen, f'trueup findings close {finding.id} --because "..."')
    whose = finding.subscription_id or finding.organization_id
    looks = (f"trueup reconcile {whose} --explain" if whose else "trueup doctor",)
    of_zero = finding.kind == FindingKind.COUNTS_SUDDENLY_ZERO
    if of_zero and finding.subscription_id and finding.seat_type:
        named = f"{finding.subscription_id} {finding.seat_type}"
        return (*looks, f'trueup findings confirm-zero {named} --because "..."')
    return looks


def _closes_by_itself(finding: Finding) -> Refuse:
    whose = finding.subscription_id or finding.organization_id
    again = (f'trueup reconcile {whose} --apply --because "..."',) if whose else ()
    return Refuse(
        code="closes_by_itself",
        message=f"Finding {finding.id} is closed by the look that sees it gone, not by hand: "
        f"{finding.kind}",
        remedies=(
            f"remove its cause: docs/runbook.md#{finding.kind}",
            *what_next(finding),
            *again,
        ),
    )


def _closed_before(session: Session, finding_id: int) -> Refuse:
    by_hand = closed_by_hand(session, finding_id)
    who = f" by {by_hand.actor}: {by_hand.because}" if by_hand else ": it was gone"
    return Refuse(
        code="finding_closed",
        message=f"Finding {finding_id} was closed{who}",
        remedies=("trueup findings list --state open",),
    )


def _subject(finding_id: int) -> str:
    return f"finding:{finding_id}"
