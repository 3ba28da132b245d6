"""The nouns of every decision: frozen values without behaviour of their own.

Facts go in (`SubscriptionFacts`, `OrganizationFacts`, `PlanRules`), a `Verdict` comes out.
Quantities are whole seats; A is the active count, Q our quantity, S Stripe's quantity. What only
one decision knows lives beside that decision. Nothing here computes, reads or logs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Flag, StrEnum, auto


class SeatPolicy(StrEnum):
    """Who sets the quantity of a plan's seat types."""

    PURCHASED = "purchased"
    FOLLOW = "follow"
    OWN_SEAT = "own_seat"
    CONTRACT = "contract"
    INCLUDED = "included"


class ContractKind(StrEnum):
    """When an account manager's approved change of a contract takes effect (A6)."""

    MONTHLY = "monthly"  # from the next billing cycle
    ANNUAL_UPFRONT = "annual_upfront"  # at once, prorated for the remaining period


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatTypeRules:
    """What the catalog says of one seat type of a plan."""

    seat_type: str
    label: str
    minimum: int = 0
    ceiling: int | None = None  # purchased: the most that may be bought
    included: int | None = None  # included: the fixed pool
    hard_cap: int | None = None  # C8: beyond it one Enterprise review, never a purchase
    credits_per_seat: int = 0  # A4, own_seat: what a paid seat grants a month


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageLimit:
    """C9: what a month's usage may be before a person looks. It blocks nothing."""

    metric: str  # orders, or gmv
    currency: str  # of gmv, each on its own; empty for orders
    most: int  # a count, or minor units


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRules:
    """What the catalog says of one role of a plan."""

    role: str
    seat_types: tuple[str, ...] = ()  # the pools a member of this role may take; none: no seat
    is_owner: bool = False  # exactly one; passed on only by a transfer of ownership (C7)
    is_admin: bool = False  # counts for "at least one active admin" (B8)
    changes_roles: bool = False  # may change other members' roles (C6)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRules:
    """What the catalog says of a plan; the settings of both decision tables."""

    plan: str
    policy: SeatPolicy
    seat_types: Mapping[str, SeatTypeRules]
    roles: Mapping[str, RoleRules] = field(default_factory=dict)
    tier: str = ""  # A5: members of one pool are on one tier
    single_admin: bool = False  # A3
    blocks_invites_in_trial: bool = False  # C4
    restores_quantity: bool = False  # purchased, S differs and S >= A: restore Q, not adopt S
    raises_below_floor: bool = True  # purchased, S < A: raise back, not only report
    follow_raises: str = "now"  # or "monthly": billed together, on the next invoice
    follow_lowers: str = "renewal"  # or "now", as a credit
    contract_kind: ContractKind = ContractKind.MONTHLY
    contract_removals: bool = False  # A7: an account manager may lower it during the contract
    contract_allows_overage: bool = False  # record the peak and true up instead of refusing
    activates_first: bool = False  # activate, then charge within a minute
    usage: tuple[UsageLimit, ...] = ()  # C9


class Standing(Flag):
    """What a subscription's status and flags allow; several may hold, LIVE and DEAD stand alone."""

    LIVE = auto()
    TRIALING = auto()
    PAST_DUE = auto()
    PAUSED_COLLECTION = auto()
    CANCELING = auto()
    DEAD = auto()  # canceled, unpaid, incomplete, incomplete_expired, paused


class ItemProblem(StrEnum):
    """Why an item of a subscription cannot be the seats of a seat type."""

    METERED = "metered"
    WRONG_PRICE = "wrong_price"
    WRONG_CURRENCY = "wrong_currency"
    DUPLICATE = "duplicate"  # two items claim one seat type


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatFacts:
    """One seat type of a subscription, as things stand."""

    seat_type: str
    active: int | None  # A; None when it could not be read
    quantity: int  # Q
    stripe_quantity: int | None  # S; None when the subscription has no such item
    active_before: int | None = None  # A when last believed
    auto_add: bool = False
    auto_add_ceiling: int | None = None  # in seats; a ceiling in money is converted before
    item_problem: ItemProblem | None = None
    awaited: bool = False  # a contract says Q, and Stripe has not had such an item


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionFacts:
    """All that a reconciliation of one subscription is decided from."""

    subscription_id: str
    organization_id: str
    rules: PlanRules
    standing: Standing
    seats: tuple[SeatFacts, ...]
    live_subscriptions: int = 1  # of this organization (own_seat: of this member)
    succeeded: bool = False  # this one is over and the organization has a live one
    adjustment_in_flight: bool = False
    pending_update: bool = False  # Stripe's own, waiting for a payment
    settling: bool = False  # inside the settling window after a write of ours
    schedule_managed: bool = False
    counts_problem: str | None = None  # why the members cannot be counted, if they cannot
    roster_unreadable: bool = False  # nor can those of any other organization
    # own_seat: whether the member of the seat is active; None: the host keeps them, without names.
    member_active: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractEnd:
    """The end of a contract that is near or past: an ISO date, and whole days until it."""

    on: str
    days_left: int | None  # None: it is over


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationFacts:
    """What is decided of an organization beside any one subscription of it."""

    organization_id: str
    rules: PlanRules
    active: Mapping[str, int | None]  # A by seat type
    active_before: Mapping[str, int] = field(default_factory=dict)
    counts_problem: str | None = None
    roster_unreadable: bool = False
    # own_seat: members who are active, and members whose own subscription is live and paid.
    active_members: frozenset[str] = frozenset()
    paid_members: frozenset[str] = frozenset()
    contract_end: ContractEnd | None = None  # contract: None unless it is near or past


class FindingKind(StrEnum):
    """Every kind of finding; each has a section in the runbook."""

    ROSTER_UNREADABLE = "roster_unreadable"
    COUNTS_UNREADABLE = "counts_unreadable"
    COUNTS_SUDDENLY_ZERO = "counts_suddenly_zero"
    ITEM_MISSING = "item_missing"
    ITEM_METERED = "item_metered"
    ITEM_WRONG_PRICE = "item_wrong_price"
    ITEM_WRONG_CURRENCY = "item_wrong_currency"
    ITEM_DUPLICATE = "item_duplicate"
    SEVERAL_SUBSCRIPTIONS = "several_subscriptions"
    OVER_HARD_CAP = "over_hard_cap"
    ACTIVE_WITHOUT_SUBSCRIPTION = "active_without_subscription"
    PAST_DUE = "past_due"
    COLLECTION_PAUSED = "collection_paused"
    ACTIVE_OVER_QUANTITY = "active_over_quantity"
    CANCELING_BELOW_ACTIVE = "canceling_below_active"
    CONTRACT_DRIFT = "contract_drift"
    CONTRACT_OVERAGE = "contract_overage"
    CONTRACT_ENDING = "contract_ending"
    CONTRACT_ENDED = "contract_ended"
    STRIPE_QUANTITY_CHANGED = "stripe_quantity_changed"
    STRIPE_BELOW_FLOOR = "stripe_below_floor"
    SEAT_WITHOUT_MEMBER = "seat_without_member"
    MEMBER_WITHOUT_SEAT = "member_without_seat"
    SCHEDULE_BLOCKS_CHANGE = "schedule_blocks_change"
    PAYMENT_DECLINED = "payment_declined"
    INVOICE_DIFFERS_FROM_PREVIEW = "invoice_differs_from_preview"
    INVOICE_DIFFERS_FROM_MODEL = "invoice_differs_from_model"
    UNKNOWN_CUSTOMER = "unknown_customer"
    ADJUSTMENT_STUCK = "adjustment_stuck"


# What was charged stays charged: nothing that a run sees later makes it as it was previewed. These
# wait for the person who has looked. Every other kind is closed by the run that sees it gone.
CLOSED_BY_HAND = frozenset(
    {FindingKind.INVOICE_DIFFERS_FROM_PREVIEW, FindingKind.INVOICE_DIFFERS_FROM_MODEL}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A finding the facts call for.

    Its subject is one seat type, one member, one adjustment, or the subscription or organization as
    a whole.
    """

    kind: FindingKind
    summary: str  # one line: what is wrong, with the counts, and what to do
    seat_type: str | None = None
    member_id: str | None = None
    adjustment_id: str | None = None
    urgent: bool = False
    notify: str | None = None  # who else is told: payer, owner, account_manager
    detail: Mapping[str, object] = field(default_factory=dict)


class Proration(StrEnum):
    """How a change is charged. The value is Stripe's `proration_behavior`."""

    CHARGE_NOW = "always_invoice"
    NEXT_INVOICE = "create_prorations"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Nothing to write to Stripe."""

    reason: str
    adopt: Mapping[str, int] = field(default_factory=dict)  # seat type -> the new Q, adopted from S
    suggest: Mapping[str, int] = field(default_factory=dict)  # B13: could be reduced to


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
    adopt: Mapping[str, int] = field(default_factory=dict)  # other seat types' Q, adopted from S
    interval: str | None = None  # B10: every item switches to its price of this interval
    at_renewal: bool = False  # written so that the current period keeps what it paid for
    through_schedule: bool = False
    automatic: frozenset[str] = frozenset()  # the seat types that Auto-Add raises (B15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """A person's request that may not happen, with the ways out."""

    code: str  # stable, machine-readable: no_free_seat, below_active, past_due, ...
    message: str
    remedies: tuple[str, ...] = ()
    notify: str | None = None  # who else is told: owner, account_manager


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A person has to look (C8): the seat types over their hard cap."""

    seat_types: tuple[str, ...]
    reason: str


Decision = Keep | Wait | Change | Refuse | Review


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What reconciliation decided, and every finding that holds. The rule is named for the log.

    `judged` are the kinds of finding the facts were good enough to speak about: an open finding
    of such a kind that was not observed again is gone; one of any other kind stays as it is.
    """

    decision: Keep | Wait | Change | Review
    rule: str
    observations: tuple[Observation, ...] = ()
    judged: frozenset[FindingKind] = frozenset()
    block_growth: bool = False  # activations that need a raise are refused until it is resolved
    held_back: Change | None = None  # past due: what is wanted, and waits until it is paid
    believes_counts: bool = True  # False: the counts read must not be remembered as `active_before`
