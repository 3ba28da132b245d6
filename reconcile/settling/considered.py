"""What a decision was made from and what it was, as plain values: kept on the inbox row.

For a person who asks weeks later why. The same values are what `trueup reconcile --explain` shows.
"""

from typing import Any

from reconcile.policy.values import (
    Change,
    Decision,
    SeatFacts,
    Standing,
    SubscriptionFacts,
    Verdict,
)


def considered(facts: SubscriptionFacts, verdict: Verdict) -> dict[str, Any]:
    """Return the facts of one subscription and the decision made from them, fit for JSON."""
    return {
        "subscription": facts.subscription_id,
        "organization": facts.organization_id,
        "plan": facts.rules.plan,
        "policy": facts.rules.policy.value,
        "standing": standing_words(facts.standing),
        "seats": [_seat(facts, seat) for seat in facts.seats],
        "holding": _holding(facts),
        "row": str(verdict.rule),
        **decision_values(verdict.decision),
        "findings": [each.kind.value for each in verdict.observations],
    }


def standing_words(standing: Standing) -> list[str]:
    """Return `live`, `past_due`, ..."""
    return [str(flag.name).lower() for flag in Standing if flag in standing]


def decision_values(decision: Decision) -> dict[str, Any]:
    """Return the decision's kind, its reason and its quantities."""
    values: dict[str, Any] = {"decision": type(decision).__name__.lower()}
    values["reason"] = getattr(decision, "reason", None) or getattr(decision, "message", "")
    if isinstance(decision, Change):
        values["quantities"] = dict(decision.quantities)
        values["proration"] = decision.proration.value
        values["at_renewal"] = decision.at_renewal
    for name in ("adopt", "suggest"):
        if found := getattr(decision, name, None):
            values[name] = dict(found)
    return values


def _seat(facts: SubscriptionFacts, seat: SeatFacts) -> dict[str, Any]:
    rules = facts.rules.seat_types.get(seat.seat_type)
    return {
        "seat_type": seat.seat_type,
        "active": seat.active,
        "bought": seat.quantity,
        "in_stripe": seat.stripe_quantity,
        "active_before": seat.active_before,
        "minimum": rules.minimum if rules else None,
        "hard_cap": rules.hard_cap if rules else None,
        "auto_add": seat.auto_add,
        "auto_add_ceiling": seat.auto_add_ceiling,
        "problem": seat.item_problem.value if seat.item_problem else None,
    }


def _holding(facts: SubscriptionFacts) -> list[str]:
    """Return what else kept it from being an ordinary case."""
    said = {
        "an adjustment is in flight": facts.adjustment_in_flight,
        "Stripe holds a pending update": facts.pending_update,
        "our last write is settling": facts.settling,
        "a schedule drives it": facts.schedule_managed,
        f"{facts.live_subscriptions} live subscriptions": facts.live_subscriptions > 1,
        str(facts.counts_problem): facts.counts_problem is not None,
    }
    return [words for words, so in said.items() if so]
