"""Usage signals (C9): what the host reports of a month, and the review that two such months open.

A review of usage is a flag for a person. It has no grace, restricts nobody, and closes when a
person closes it or when the latest months are within the plan's limits again.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from reconcile.actor import TRUEUP, Actor
from reconcile.errors import WaitingForRow
from reconcile.outward import reviews
from reconcile.policy import usage as policy
from reconcile.policy.usage import Flag
from reconcile.policy.values import Refuse
from reconcile.services import Services
from reconcile.store import audit, roster, usage
from reconcile.store import reviews as reviews_store
from reconcile.store.reviews import USAGE
from reconcile.store.usage import Signal

# A month begins 14 hours before UTC's in the earliest time zone, and ends 12 after in the last.
_EARLIEST, _LATEST = timedelta(hours=14), timedelta(hours=12)

WITHIN_LIMITS = Actor(TRUEUP.who, because="usage is within the plan's limits again")


class NoSuchOrganization(WaitingForRow):
    """The organization is not imported."""


def report(
    services: Services, organization_id: str, signals: Sequence[Signal], actor: Actor
) -> tuple[Signal, ...] | Refuse:
    """Write what was reported of one month and return all that is known of that month.

    A value that was reported before is replaced, and the audit trail says by what. Raises
    NoSuchOrganization.
    """
    month = signals[0].month
    if month > _month(services.clock() + _EARLIEST):
        return Refuse(
            code="month_not_begun",
            message=f"The month {month} has not begun",
            remedies=("report it when it is over",),
        )
    with services.sessions.begin() as session:
        usage.lock(session, organization_id)
        if roster.organization(session, organization_id) is None:
            raise NoSuchOrganization(organization_id)
        before = _named(usage.of_month(session, organization_id, month))
        usage.write(session, organization_id, signals)
        known = usage.of_month(session, organization_id, month)
        if before != (after := _named(known)):
            subject = f"usage:{organization_id}/{month}"
            audit.record(
                session,
                actor,
                "usage.reported",
                subject,
                organization_id=organization_id,
                before=before,
                after=after,
            )
        _follow(session, services, organization_id, by=str(actor))
        return known


def _follow(session: Session, services: Services, organization_id: str, *, by: str) -> None:
    """Open or close the review of the organization's usage as the latest months say."""
    flags = _flags(session, services, organization_id)
    listed = [asdict(flag) for flag in flags]
    standing = reviews_store.open_of(session, organization_id, USAGE)
    if standing is None:
        last = reviews_store.last_closed(session, organization_id, USAGE)
        by_a_person = last is not None and last.closed_by != TRUEUP.who
        seen = [Flag(**over) for over in last.detail["over"]] if last and by_a_person else []
        if policy.unseen(flags, seen):
            reason = " ".join(_sentence(flag) for flag in flags)
            reviews.open_review(session, services, organization_id, USAGE, reason, listed, by=by)
    elif flags:
        detail = {**standing.detail, "over": listed}
        reviews_store.write(session, standing.id, detail=detail)
    else:
        reviews.close(session, services, standing, WITHIN_LIMITS)


def _flags(session: Session, services: Services, organization_id: str) -> tuple[Flag, ...]:
    organization = roster.organization(session, organization_id)
    assert organization is not None  # the caller has looked
    reported: dict[tuple[str, str], dict[str, int]] = {}
    for signals in usage.months(session, organization_id).values():
        for signal in signals:
            values = reported.setdefault((signal.metric, signal.currency), {})
            values[signal.month] = signal.value
    limits = services.catalog.plan(organization.plan).rules.usage
    running = _month(services.clock() - _LATEST)
    return policy.flags(limits, reported, running=running)


def _sentence(flag: Flag) -> str:
    what = "Orders" if flag.metric == "orders" else f"GMV in {flag.currency.upper()}"
    unit = "" if flag.metric == "orders" else " minor units"
    return (
        f"{what} over {flag.most}{unit} a month from {flag.since} through {flag.through} "
        f"(latest {flag.latest}): talk about a larger plan."
    )


def _named(signals: Sequence[Signal]) -> dict[str, int]:
    return {
        f"{signal.metric}_{signal.currency}" if signal.currency else signal.metric: signal.value
        for signal in signals
    }


def _month(moment: datetime) -> str:
    return f"{moment.year:04}-{moment.month:02}"
