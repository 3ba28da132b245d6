"""Facts with valid defaults: a test names only what it is about."""

from dataclasses import replace
from typing import Any

from reconcile.policy.activation import ActivationFacts
from reconcile.policy.seat_change import ChangeFacts
from reconcile.policy.values import (
    OrganizationFacts,
    PlanRules,
    RoleRules,
    SeatFacts,
    SeatPolicy,
    SeatTypeRules,
    Standing,
    SubscriptionFacts,
)

VOICE = SeatTypeRules(seat_type="voice", label="Voice")
BASE = SeatTypeRules(seat_type="base", label="Base", minimum=1)

AGENCY = PlanRules(
    plan="agency",
    policy=SeatPolicy.PURCHASED,
    seat_types={"base": BASE, "voice": VOICE},
    roles={
        "admin": RoleRules(
            role="admin", seat_types=("base", "voice"), is_admin=True, changes_roles=True
        ),
        "member": RoleRules(role="member", seat_types=("base", "voice")),
    },
    tier="agency",
)

COMMERCE = PlanRules(
    plan="commerce_growth",
    policy=SeatPolicy.INCLUDED,
    seat_types={
        "admin": SeatTypeRules(seat_type="admin", label="Admin", included=3, hard_cap=7),
        "sales_rep": SeatTypeRules(
            seat_type="sales_rep", label="Sales Rep", included=3, hard_cap=15
        ),
    },
    roles={
        "owner": RoleRules(role="owner", is_owner=True, is_admin=True, changes_roles=True),
        "admin": RoleRules(role="admin", seat_types=("admin",), is_admin=True),
        "sales_rep": RoleRules(role="sales_rep", seat_types=("sales_rep",)),
    },
    tier="commerce_growth",
    blocks_invites_in_trial=True,
)

PRO = PlanRules(
    plan="workspace_pro",
    policy=SeatPolicy.OWN_SEAT,
    seat_types={"pro": SeatTypeRules(seat_type="pro", label="Pro")},
    roles={
        "admin": RoleRules(role="admin", seat_types=("pro",), is_admin=True, changes_roles=True),
        "member": RoleRules(role="member", seat_types=("pro",)),
    },
    tier="pro",
    single_admin=True,
)


def rules(policy: SeatPolicy = SeatPolicy.PURCHASED, **changes: Any) -> PlanRules:
    """The agency's plan under any policy; `voice=` changes the rules of its Voice seats."""
    voice = replace(VOICE, **changes.pop("voice", {}))
    return replace(AGENCY, policy=policy, seat_types={"base": BASE, "voice": voice}, **changes)


def seat(active: int | None, quantity: int, stripe: int | None, **changes: Any) -> SeatFacts:
    """Voice seats with A, Q and S."""
    values = {"seat_type": "voice", "active_before": active} | changes
    return SeatFacts(active=active, quantity=quantity, stripe_quantity=stripe, **values)


def subscription(*seats: SeatFacts, **changes: Any) -> SubscriptionFacts:
    """A live subscription of an agency."""
    values: dict[str, Any] = {
        "subscription_id": "sub_1",
        "organization_id": "org_1",
        "rules": AGENCY,
        "standing": Standing.LIVE,
    }
    return SubscriptionFacts(seats=seats, **(values | changes))


def organization(**changes: Any) -> OrganizationFacts:
    """An organization whose plan includes its seats."""
    values: dict[str, Any] = {"organization_id": "org_1", "rules": COMMERCE, "active": {}}
    return OrganizationFacts(**(values | changes))


def activation(active: int | None = 4, capacity: int | None = 5, **changes: Any) -> ActivationFacts:
    """One Voice member joining an agency that has a live subscription."""
    values: dict[str, Any] = {"rules": AGENCY, "takes": "voice", "standing": Standing.LIVE}
    return ActivationFacts(active=active, capacity=capacity, **(values | changes))


def change_facts(base: tuple[int, int], voice: tuple[int, int], **changes: Any) -> ChangeFacts:
    """An agency with (active, bought) Base and Voice seats, paid monthly."""
    values: dict[str, Any] = {
        "rules": AGENCY,
        "standing": Standing.LIVE,
        "interval": "month",
        "intervals": frozenset({"month", "year"}),
        "seats": (
            seat(base[0], base[1], base[1], seat_type="base"),
            seat(voice[0], voice[1], voice[1]),
        ),
    }
    return ChangeFacts(**(values | changes))
