"""Every notice there is: its type, who should hear of it, and what its data holds.

One list for the code that writes them, the page for hosts (docs/webhooks-out.md) and its test.
Data is ids, counts, amounts and times: a name or an address of a person has no field here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconcile.policy.values import FindingKind, Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeKind:
    """One type of notice. `data` are its fields, each with what it says; none is always there."""

    type: str
    audience: str
    tells: str
    data: Mapping[str, str] = field(default_factory=dict)


_SEATS = {"seat_type": "the kind of seat", "active": "active members on it"}
_MONEY = {"currency": "ISO code, lower case"}
_REVIEW = {
    "review_id": "the review",
    "kind": "`enterprise` (C8) or `usage` (C9)",
    "grace_ends_at": "when growth is restricted unless it is resolved; none for `usage`",
}

_KINDS = (
    NoticeKind(
        type="seats.limit_reached",
        audience="owner",
        tells="Somebody could not become active: no seat was free.",
        data=_SEATS
        | {
            "capacity": "seats there are",
            "member_id": "who was refused",
            "code": "the refusal's code",
        },
    ),
    NoticeKind(
        type="auto_add.happened",
        audience="owner",
        tells="Auto-Add bought seats.",
        data=_MONEY
        | {
            "seat_type": "the kind of seat",
            "quantity_before": "seats before",
            "quantity_after": "seats now",
            "total_minor": "what the change was billed, minor units",
            "amount_due_minor": "of it, what was charged after credits",
            "adjustment_id": "the change",
            "invoice_id": "its invoice in Stripe",
        },
    ),
    NoticeKind(
        type="auto_add.ceiling_reached",
        audience="owner",
        tells="Auto-Add may buy no more seats: its ceiling, or a limit, is reached.",
        data=_SEATS
        | _MONEY
        | {
            "capacity": "seats there are",
            "ceiling_quantity": "the ceiling in seats",
            "ceiling_minor": "the ceiling in money, minor units",
            "member_id": "who was refused",
            "code": "the refusal's code",
        },
    ),
    NoticeKind(
        type="member.changed",
        audience="host",
        tells="A member became active, left, or changed role or seat.",
        data={
            "member_id": "who",
            "what": "activated, blocked, moved, ...",
            "role": "the role now",
            "seat_type": "the seat now",
            "status": "the status now",
        },
    ),
    NoticeKind(
        type="seat.lapsed",
        audience="payer",
        tells="A member's own seat is not paid any more: it is out of the credit pool.",
        data={"subscription_id": "the seat", "member_id": "whose", "status": "Stripe's status"},
    ),
    NoticeKind(
        type="payment.failed",
        audience="payer",
        tells="An invoice was not paid, or a card was declined for more seats.",
        data={
            "subscription_id": "the subscription",
            "invoice_id": "the unpaid invoice",
            "status": "the subscription's status in Stripe",
            "finding_id": "the finding of a declined change",
            "code": "Stripe's reason, where it gave one",
        },
    ),
    NoticeKind(
        type="review.opened",
        audience="owner",
        tells="More members than any plan holds (C8), or usage beyond the plan (C9).",
        data=_REVIEW
        | {
            "over": "what is over: seat type or metric, with count and limit",
        },
    ),
    NoticeKind(
        type="review.reminder",
        audience="owner",
        tells="The review is still open.",
        data=_REVIEW | {"days_left": "whole days of grace left"},
    ),
    NoticeKind(
        type="grace.ending",
        audience="owner",
        tells="The last reminder before growth is restricted.",
        data=_REVIEW | {"days_left": "whole days of grace left"},
    ),
    NoticeKind(
        type="review.extended",
        audience="owner",
        tells="A person gave more time.",
        data=_REVIEW,
    ),
    NoticeKind(
        type="review.closed",
        audience="owner",
        tells="The review is over: the count is back, or a person closed it.",
        data=_REVIEW | {"closed_by": "`trueup`, or who"},
    ),
    NoticeKind(
        type="organization.restricted",
        audience="owner",
        tells="The grace is over: nobody can be invited or activated into a seat.",
        data=_REVIEW,
    ),
    NoticeKind(
        type="organization.unrestricted",
        audience="owner",
        tells="The restriction is lifted.",
        data=_REVIEW,
    ),
    NoticeKind(
        type="drift.found",
        audience="host",
        tells="A finding was opened that is urgent, or that somebody should be told of.",
        data={
            "finding_id": "the finding",
            "finding": "its kind, a section of the runbook",
            "about": "what it is about",
            "subscription_id": "the subscription, if it is about one",
            "seat_type": "the kind of seat, if it is about one",
            "member_id": "the member, if it is about one",
            "urgent": "whether somebody should look now",
        },
    ),
    NoticeKind(
        type="contract.change_needed",
        audience="account_manager",
        tells="A contract does not fit any more: seats asked for, or an overage to true up (A6).",
        data=_SEATS
        | _MONEY
        | {
            "agreed": "seats in the contract",
            "peak": "the highest active count of the period",
            "period_start": "the period",
            "period_end": "its end",
            "proposed": "the quantity proposed",
            "amount_minor": "what it would cost, minor units",
        },
    ),
    NoticeKind(
        type="contract.ending",
        audience="account_manager",
        tells="A contract ends soon, or has ended and its seats are billed on (A6).",
        data={
            "finding_id": "the finding",
            "finding": "`contract_ending` or `contract_ended`",
            "ends_on": "the day it ends, UTC",
            "days_left": "whole days until then, 0 when it is over",
        },
    ),
)

NOTICES: Mapping[str, NoticeKind] = {kind.type: kind for kind in _KINDS}

# The review says it, to the owner, and with the days that are left.
_TOLD_OTHERWISE = frozenset({FindingKind.OVER_HARD_CAP})

_TOLD_AS = {
    FindingKind.PAYMENT_DECLINED: "payment.failed",
    FindingKind.CONTRACT_ENDING: "contract.ending",
    FindingKind.CONTRACT_ENDED: "contract.ending",
}


def notice_of(observation: Observation) -> str | None:
    """Return the type of the notice that a finding is told with when it is opened, if it is.

    Told are those that are urgent and those that name somebody to tell; a declined card and a
    contract's end as what they are.
    """
    if observation.kind in _TOLD_OTHERWISE:
        return None
    if observation.kind in _TOLD_AS:
        return _TOLD_AS[observation.kind]
    return "drift.found" if observation.urgent or observation.notify else None
