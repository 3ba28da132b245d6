"""Every `code` a problem may have: what it means, and the way out where the refusal names none.

One list for the answers, the document and the test that no code is missing here. A way out is what
the caller, or the person before the screen, can do; where nothing helps, it says so and whom to
ask. No rule is in here: what is refused is decided elsewhere, mostly with closer ways out.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Code(NamedTuple):
    """One code."""

    meaning: str
    way_out: str


_SAME_AGAIN = "send the same request again after Retry-After"
_LATER = "send the same request again later"
_MEMBERS_AGAIN = "look at the members again"
_FEWER_OR_ENTERPRISE = "remove members until the seats fit, or ask for an Enterprise plan"
_ACCOUNT_MANAGER = "ask your account manager"

# The request itself, whatever the state of things is.
_REQUEST = {
    "bad_request": Code("The request cannot be read", "send UTF-8 JSON without NUL"),
    "invalid": Code("A value of the request cannot be", "correct what `detail` names"),
    "unsupported_media_type": Code("The body is not JSON", "send it as application/json"),
    "request_entity_too_large": Code("The body is over 64 KiB", "send less at once"),
    "method_not_allowed": Code("The path has other methods", "use one that `Allow` names"),
    "idempotency_key_invalid": Code("The key is none", "send 1 to 255 printable characters"),
    "idempotency_key_reused": Code("The key is another request's", "make a new key for each one"),
    "not_found": Code("There is no such thing here", "check the path, its ids and the token"),
    "unauthenticated": Code("No valid token", "send Authorization: Bearer with a valid token"),
    "too_many_failures": Code("Too many wrong tokens from here", "wait, then use a valid token"),
    "scope_missing": Code("The token lacks a scope", "use a token that has it"),
    "not_allowed": Code("The one who asks may not do this", "ask somebody who may"),
}

# It passes by itself, or somebody is at it.
_PASSES = {
    "busy": Code("Too much at once", _SAME_AGAIN),
    "try_again": Code("It meets something that passes by itself", _SAME_AGAIN),
    "stripe_away": Code("Stripe cannot be asked now", _SAME_AGAIN),
    "database_away": Code("The database cannot be reached", _SAME_AGAIN),
    "too_slow": Code(
        "It took the database longer than a request may",
        "ask for less: of one organization or subscription, or fewer at once",
    ),
    "in_progress": Code("Another change, or this request itself, is under way", _LATER),
    "counts_unreadable": Code("Active members cannot be counted now", _LATER),
    "paused": Code("The operator has paused changes", "try again when it is resumed"),
    "limit": Code("As many changes as Stripe takes for now", _LATER),
    "internal_error": Code(
        "Something is wrong inside; it is not your request",
        "give the operator this answer's X-Request-Id",
    ),
}

# What Stripe, the bank or the subscription says.
_BILLING = {
    "payment_declined": Code("The payment was declined", "update the card, then try again"),
    "stripe_refused": Code(
        "Stripe does not take it, and would not the next time",
        "have the operator look the request up in Stripe's log",
    ),
    "not_taken": Code("The change came to nothing in Stripe", "look at a new preview"),
    "not_in_catalog": Code("The catalog has no such plan or price", "add it to the catalog"),
    "no_subscription": Code("There is no live subscription", "subscribe first"),
    "several_subscriptions": Code("More than one is live", "have support cancel the others"),
    "subscription_inactive": Code("It is canceled, unpaid or paused", "renew the subscription"),
    "past_due": Code("An invoice is past due", "pay the open invoice"),
    "collection_paused": Code("Payments are not collected", "have the collection resumed"),
    "canceling": Code("It ends with its period", "keep the subscription first"),
    "schedule_managed": Code("It follows a schedule", "have its schedule changed"),
    "shortfall": Code("Stripe has fewer seats than are in use", "resolve the open finding"),
    "item_problem": Code("An item of it is wrong", "resolve the open finding first"),
    "no_customer": Code("Nobody pays for it in Stripe", "name the organization's customer"),
    "customer_taken": Code("Another organization has it", "give each a customer of its own"),
    "payment_needed": Code("The member's seat is not paid", "complete the payment of the seat"),
    "paid_already": Code("The member's seat is paid", "activate the member"),
}

# Seats: how many there are and may be.
_SEATS = {
    "no_free_seat": Code("Every seat of the kind is taken", "buy a seat, or remove a member"),
    "seat_limit": Code("The plan includes no more", "remove a member, or upgrade the plan"),
    "auto_add_limit": Code("Auto-Add may buy no more", "raise its ceiling, or remove a member"),
    "hard_cap": Code("No plan has more", "ask for an Enterprise plan"),
    "ceiling": Code("The plan sells no more", "ask for a larger plan"),
    "organization_restricted": Code("A review's grace is over", _FEWER_OR_ENTERPRISE),
    "below_active": Code("More members are active", "remove members first, then reduce"),
    "below_minimum": Code("The plan's least", "keep at least the plan's minimum"),
    "invalid_quantity": Code("That is no number of seats", "give the new number of seats"),
    "unknown_seat_type": Code("The plan has no such seats", "choose a seat type of the plan"),
    "unknown_interval": Code("The plan has no such prices", "choose an interval of the plan"),
    "included": Code("The plan includes its seats", "upgrade the plan"),
    "follows_members": Code("Seats follow the members", "add or remove members"),
    "own_seat": Code("Every member pays for their own", "invite, or cancel a member's seat"),
    "no_own_seat": Code("The member pays for none", "activate the member"),
    "nothing_to_change": Code("It is so already", "nothing is to be done: ask for another number"),
    "preview_stale": Code("Things have changed since", "confirm the new preview"),
    "preview_expired": Code("The preview is too old", "confirm the new preview"),
    "individual_plan": Code("The plan is for one person", "upgrade the plan"),
    "tier_mixed": Code("A pool is of one tier", _ACCOUNT_MANAGER),
    "trial_invites_blocked": Code("On trial nobody is invited", "choose a plan to end the trial"),
    "plan_does_not_fit": Code("Members do not fit the plan", "change their roles or seats first"),
}

_CONTRACTS = {
    "contract": Code("Seats are sized by a contract", _ACCOUNT_MANAGER),
    "contract_removal": Code("Not agreed during it", "record the decision, or wait for its end"),
    "approval_needed": Code("A change says who approved it", "give the approval"),
    "not_a_contract": Code("The plan has none", "put the organization on a plan with one"),
    "nothing_waits": Code("No approved change waits", "look at the contract: it may be in force"),
}

_MEMBERS = {
    "members_elsewhere": Code("The host keeps the members", "change them in the host application"),
    "organization_exists": Code("The id is taken", "change it, or choose another id"),
    "already_member": Code("They are a member already", "change the role or the seat type"),
    "already_invited": Code("They are invited already", "revoke the invite first"),
    "not_invited": Code("There is no invite to revoke", "remove the member"),
    "removed": Code("The member was removed", "invite them again"),
    "blocked": Code("The member is blocked", "unblock them"),
    "not_blocked": Code("The member is not blocked", "activate them"),
    "not_active": Code("They are not active", "name the active member who holds it"),
    "not_admin": Code("They are no admin", "name the admin"),
    "not_owner": Code("They are not the owner", "name the owner"),
    "no_admin_role": Code("The plan has no admins", "choose a plan with admins"),
    "single_admin": Code("The plan has one admin", "transfer the admin role"),
    "last_admin": Code("One admin stays", "promote another active member first"),
    "transfer_needed": Code("There is one owner", "transfer the ownership"),
    "two_steps": Code("Promote, then demote", "promote the other member first"),
    "successor_unfit": Code("They cannot take it over", "choose an active member"),
    "unknown_role": Code("The plan has no such role", "choose a role of the plan"),
    "seat_type_not_allowed": Code("Not for this role", "choose a seat type of the role"),
    "invalid_move": Code("They cannot move like this", _MEMBERS_AGAIN),
    "nothing_to_swap": Code("They cannot be swapped", _MEMBERS_AGAIN),
}

_OPERATING = {
    "review_closed": Code("The review is closed", "look for an open one"),
    "no_grace": Code("The review restricts nothing", "close it when it was looked at"),
    "grace_not_longer": Code("The grace can only be made longer", "name a later time"),
    "month_not_begun": Code("The month is in the future", "report it when it is over"),
    "paused_already": Code("It is paused already", "nothing is to be done: resume it when ready"),
    "not_paused": Code("It is not paused", "nothing is to be done: list the pauses"),
    "finding_closed": Code("The finding is closed", "nothing is to be done: look for an open one"),
    "closes_by_itself": Code("It closes when it is gone", "remove its cause, then have it settled"),
    "not_zero": Code("Members are counted again", "settle it: there is nothing to confirm"),
    "zero_already": Code("Zero is known already", "nothing is to be done"),
}

GROUPS: Mapping[str, Mapping[str, Code]] = {
    "The request": _REQUEST,
    "What passes": _PASSES,
    "Billing": _BILLING,
    "Seats": _SEATS,
    "Contracts": _CONTRACTS,
    "Members": _MEMBERS,
    "Operating": _OPERATING,
}
CODES: Mapping[str, Code] = {
    name: code for group in GROUPS.values() for name, code in group.items()
}


def described() -> str:
    """Return the list for the document, as Markdown tables."""
    parts = []
    for title, group in GROUPS.items():
        rows = [f"| `{name}` | {code.meaning} | {code.way_out} |" for name, code in group.items()]
        parts.append(
            "\n".join([f"**{title}**\n", "| code | means | way out |", "| - | - | - |", *rows])
        )
    return "\n\n".join(parts)
