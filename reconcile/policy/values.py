"""The nouns of every decision: frozen values without behaviour of their own.

Facts go in (`SubscriptionFacts`, `SeatFacts`, `PlanRules`), a `Verdict` comes out. Quantities are
whole seats; A is the active count, Q our quantity, S Stripe's quantity.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class SeatPolicy(StrEnum):
    """Who sets the quantity of a plan's seat types."""

    PURCHASED = "purchased"
    FOLLOW = "follow"
    OWN_SEAT = "own_seat"
    CONTRACT = "contract"
    INCLUDED = "included"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatTypeRules:
    """What the catalog says of one seat type of a plan."""

    seat_type: str
    label: str
    minimum: int = 0
    ceiling: int | None = None  # purchased: the most that may be bought
    included: int | None = None  # included: the fixed pool
    hard_cap: int | None = None  # C8: beyond it one Enterprise review, never a purchase


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRules:
    """What the catalog says of a plan; the settings of both decision tables."""

    plan: str
    policy: SeatPolicy
    seat_types: Mapping[str, SeatTypeRules]
    blocks_invites_in_trial: bool = False  # C4
    restores_quantity: bool = False  # purchased, S differs and S >= A: restore Q, not adopt S
    raises_below_floor: bool = True  # purchased, S < A: raise back, not only report
    follow_raises: str = "now"  # or "monthly"
    follow_lowers: str = "renewal"  # or "now"
    contract_allows_overage: bool = False  # record the peak and true up instead of refusing
    activates_first: bool = False  # activate, then charge within a minute


class Standing(StrEnum):
    """What a subscription allows, derived once from Stripe's status and flags."""

    LIVE = "live"
    TRIALING = "trialing"
    PAST_DUE = "past_due"
    PAUSED_COLLECTION = "paused_collection"
    CANCELING = "canceling"
    DEAD = "dead"  # canceled, unpaid, incomplete, incomplete_expired, paused


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatFacts:
    """One seat type of a subscription, as things stand."""

    seat_type: str
    active: int | None  # A; None when it could not be read
    quantity: int  # Q
    stripe_quantity: int | None  # S; None when the item is missing
    active_before: int | None = None  # A when last read
    in_flight: int | None = None  # the quantity being written, if any
    auto_add: bool = False
    auto_add_ceiling: int | None = None
    item_problem: str | None = None  # metered, wrong price, wrong currency


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionFacts:
    """All that a reconciliation of one subscription is decided from."""

    subscription_id: str
    organization_id: str
    rules: PlanRules
    standing: Standing
    seats: tuple[SeatFacts, ...]
    live_subscriptions: int = 1  # of this organization (own_seat: of this member)
    adjustment_in_flight: bool = False
    pending_update: bool = False  # Stripe's own, waiting for a payment
    settling: bool = False  # inside the settling window after a write of ours
    schedule_managed: bool = False
    counts_problem: str | None = None  # why the roster cannot be read, if it cannot
    member_active: bool | None = None  # own_seat: whether the seat's member is active


class FindingKind(StrEnum):
    """Every kind of finding; each has a row in the runbook."""

    COUNTS_UNREADABLE = "counts_unreadable"
    COUNTS_SUDDENLY_ZERO = "counts_suddenly_zero"
    ITEM_MISSING = "item_missing"
    ITEM_METERED = "item_metered"
    ITEM_WRONG_PRICE = "item_wrong_price"
    SEVERAL_SUBSCRIPTIONS = "several_subscriptions"
    OVER_HARD_CAP = "over_hard_cap"
    ACTIVE_WITHOUT_SUBSCRIPTION = "active_without_subscription"
    PAST_DUE = "past_due"
    COLLECTION_PAUSED = "collection_paused"
    ACTIVE_OVER_QUANTITY = "active_over_quantity"
    CANCELING_BELOW_ACTIVE = "canceling_below_active"
    CONTRACT_DRIFT = "contract_drift"
    CONTRACT_OVERAGE = "contract_overage"
    STRIPE_QUANTITY_CHANGED = "stripe_quantity_changed"
    STRIPE_BELOW_FLOOR = "stripe_below_floor"
    SEAT_WITHOUT_MEMBER = "seat_without_member"
    MEMBER_WITHOUT_SEAT = "member_without_seat"
    UNUSED_SEATS = "unused_seats"
    SCHEDULE_BLOCKS_CHANGE = "schedule_blocks_change"
    PAYMENT_DECLINED = "payment_declined"
    INVOICE_DIFFERS_FROM_PREVIEW = "invoice_differs_from_preview"
    INVOICE_DIFFERS_FROM_MODEL = "invoice_differs_from_model"
    UNKNOWN_CUSTOMER = "unknown_customer"
    ADJUSTMENT_STUCK = "adjustment_stuck"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A finding the facts call for. Its subject is the subscription, or one seat type of it."""

    kind: FindingKind
    summary: str  # one line: what is wrong, with the counts, and what to do
    seat_type: str | None = None
    urgent: bool = False
    detail: Mapping[str, object] = field(default_factory=dict)


class Proration(StrEnum):
    """How a change is charged. The value is Stripe's `proration_behavior`."""

    CHARGE_NOW = "always_invoice"
    NEXT_INVOICE = "create_prorations"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Nothing to write."""

    reason: str
    adopt: Mapping[str, int] = field(default_factory=dict)  # seat type -> the new Q, adopted from S


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing to write yet: look again when what is under way has settled."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One update of the subscription: the absolute quantity of every seat type that changes."""

    quantities: Mapping[str, int]
    proration: Proration
    reason: str
    at_renewal: bool = False  # written so that the current period keeps what it paid for
    through_schedule: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """A person's request that may not happen, with the ways out."""

    code: str  # stable, machine-readable: no_free_seat, below_active, past_due, ...
    message: str
    remedies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A person has to look (C8): the seat types over their hard cap."""

    seat_types: tuple[str, ...]
    reason: str


Decision = Keep | Wait | Change | Refuse | Review


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What reconciliation decided, and every finding that holds. The rule is named for the log."""

    decision: Decision
    rule: str
    observations: tuple[Observation, ...] = ()
    block_growth: bool = False  # activations that need a raise are refused until it is resolved
