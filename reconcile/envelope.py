"""From the bytes of an authentic Stripe event to the inbox row it becomes. Pure, and never raises.

Snapshot events of any API version and thin notifications (`v2.core.event`) come in here, from the
public door and from the gap audit. What is ours and names something to work on becomes a `pending`
row; everything else an `ignored` one with the reason. No clock, no IO, no SDK objects: the fields
looked at are few and have been where they are for years, or are looked for in both places.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from reconcile.settings import Settings

Source = Literal["webhook", "backfill"]
State = Literal["pending", "ignored"]

_ID = re.compile(r"[!-~]{1,255}")
_LONGEST_TEXT = 255
# Stripe's times are of this century; PostgreSQL and Python disagree about the far ends.
_YEARS = range(1970, 3000)
_LAST_SECOND = int(datetime(2999, 12, 31, tzinfo=UTC).timestamp())

# What moves money or status of a subscription. The other invoice events repeat one of these, and a
# renewal sends a handful of them for every subscription at once.
_INVOICE_TYPES = frozenset(
    {
        "invoice.marked_uncollectible",
        "invoice.paid",
        "invoice.payment_action_required",
        "invoice.payment_failed",
        "invoice.voided",
    }
)
# A new card arrives as `customer.updated`: a raise that was declined may go through now.
_CUSTOMER_TYPES = frozenset({"customer.deleted", "customer.updated"})

# By name, for those who must list what starts work: an endpoint has to be sent these,
NEEDED_TYPES = (
    *sorted(_CUSTOMER_TYPES),
    "customer.subscription.created",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.pending_update_applied",
    "customer.subscription.pending_update_expired",
    "customer.subscription.resumed",
    "customer.subscription.updated",
    *sorted(_INVOICE_TYPES),
)
# and these are worked on when they are sent; a subscription's own events tell the same.
WORKED_TYPES = (
    *NEEDED_TYPES,
    "customer.subscription.trial_will_end",
    "subscription_schedule.aborted",
    "subscription_schedule.canceled",
    "subscription_schedule.completed",
    "subscription_schedule.created",
    "subscription_schedule.expiring",
    "subscription_schedule.released",
    "subscription_schedule.updated",
)


@dataclass(frozen=True, slots=True)
class Ours:
    """Which events are ours, and where a subscription names its organization."""

    livemode: bool
    account_id: str
    organization_key: str

    @classmethod
    def of(cls, settings: Settings) -> "Ours":
        """Return what the settings say about it."""
        return cls(
            settings.livemode, settings.stripe_account_id, settings.organization_metadata_key
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxRow:
    """A row of the inbox as it is first written; every text is fit for PostgreSQL."""

    id: str
    source: Source
    payload: bytes
    kind: Literal["snapshot", "thin"] = "snapshot"
    type: str = "unreadable"
    api_version: str | None = None
    livemode: bool | None = None
    stripe_account: str | None = None
    secret_name: str | None = None
    stripe_created_at: datetime | None = None
    object_id: str | None = None
    subscription_id: str | None = None
    customer_id: str | None = None
    organization_id: str | None = None
    work_key: str | None = None
    state: State = "ignored"
    reason: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class _Named:
    """What an event is about, and why it is nothing to work on, if so."""

    object_id: str | None = None
    subscription_id: str | None = None
    customer_id: str | None = None
    organization_id: str | None = None
    unwanted: str | None = None


def read_event(
    body: bytes, ours: Ours, *, source: Source, secret_name: str | None = None
) -> InboxRow:
    """Return the inbox row of an authentic event: `pending` with a work key, or `ignored`.

    `body` is stored byte for byte. A body that is no event gets an id of its own content, so that
    its redelivery finds the same row.
    """
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _unreadable(body, source, secret_name, "the body is not JSON")
    if not isinstance(event, dict):
        return _unreadable(body, source, secret_name, "the body is not a JSON object")
    event_id, event_type = _id(event.get("id")), _text(event.get("type"))
    if event_id is None or not event_id.startswith("evt_"):
        return _unreadable(body, source, secret_name, "the event has no id")
    thin = event.get("object") == "v2.core.event"
    subject = _thin_subject if thin else _snapshot_subject
    named = subject(event, event_type or "", ours.organization_key)
    work_key = _work_key(event_type or "", named)
    livemode, account = event.get("livemode"), _account(event)
    reason = (
        _not_ours(livemode, account, ours)
        or ("unreadable: the event has no type" if event_type is None else None)
        or named.unwanted
        or ("no work: the event names no subscription" if work_key is None else None)
    )
    return InboxRow(
        id=event_id,
        source=source,
        payload=body,
        secret_name=secret_name,
        kind="thin" if thin else "snapshot",
        type=event_type or "unreadable",
        api_version=_text(event.get("api_version")),
        livemode=livemode if isinstance(livemode, bool) else None,
        stripe_account=account,
        stripe_created_at=_time(event.get("created")),
        object_id=named.object_id,
        subscription_id=named.subscription_id,
        customer_id=named.customer_id,
        organization_id=named.organization_id,
        work_key=None if reason else work_key,
        state="ignored" if reason else "pending",
        reason=reason,
    )


def _unreadable(body: bytes, source: Source, secret_name: str | None, why: str) -> InboxRow:
    digest = hashlib.sha256(body).hexdigest()
    return InboxRow(
        id=f"unreadable_{digest[:40]}",
        source=source,
        payload=body,
        secret_name=secret_name,
        reason=f"unreadable: {why}",
    )


def _not_ours(livemode: object, account: str | None, ours: Ours) -> str | None:
    if not isinstance(livemode, bool):
        return "unreadable: the event does not say its mode"
    if livemode != ours.livemode:
        modes = {True: "live", False: "test"}
        return f"wrong mode: a {modes[livemode]} event, the key is a {modes[ours.livemode]} one"
    # The account's own endpoint sends no account at all; a Connect endpoint always does.
    if account is not None and account != ours.account_id:
        expected = ours.account_id or "none expected, see TRUEUP_STRIPE_ACCOUNT_ID"
        return f"wrong account: {account} ({expected})"
    return None


def _snapshot_subject(event: dict[str, Any], event_type: str, organization_key: str) -> _Named:
    """Stripe: https://docs.stripe.com/api/events/types, the object of each type."""
    thing = _dict(_dict(event.get("data")).get("object"))
    object_id, customer_id = _id(thing.get("id")), _id(thing.get("customer"))
    subscription_id, metadata, wanted = None, _dict(thing.get("metadata")), True
    if event_type.startswith("customer.subscription."):
        subscription_id = object_id
    elif event_type.startswith("subscription_schedule."):
        subscription_id = _id(thing.get("subscription")) or _id(thing.get("released_subscription"))
    elif event_type.startswith("invoice."):
        subscription_id, metadata = _of_invoice(thing)
        wanted = event_type in _INVOICE_TYPES
    elif event_type in _CUSTOMER_TYPES:
        customer_id = object_id
    else:
        wanted = False
    return _Named(
        object_id=object_id,
        subscription_id=subscription_id,
        customer_id=customer_id,
        organization_id=_text(metadata.get(organization_key)),
        unwanted=None if wanted else f"no work: {event_type} changes no seats",
    )


def _of_invoice(invoice: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """2025-03-31.basil moved the subscription from the top of the invoice to its parent."""
    details = _dict(_dict(invoice.get("parent")).get("subscription_details"))
    before = _dict(invoice.get("subscription_details"))
    subscription_id = _id(details.get("subscription")) or _id(invoice.get("subscription"))
    return subscription_id, _dict(details.get("metadata")) or _dict(before.get("metadata"))


def _thin_subject(event: dict[str, Any], event_type: str, organization_key: str) -> _Named:
    """A thin notification names one related object; nothing else is in it, no metadata either.

    Stripe: https://docs.stripe.com/event-destinations#benefits-of-thin-events
    """
    del organization_key
    related = _id(_dict(event.get("related_object")).get("id"))
    if event_type.startswith("v1.customer.subscription."):
        return _Named(object_id=related, subscription_id=related)
    if event_type.removeprefix("v1.") in _CUSTOMER_TYPES:
        return _Named(object_id=related, customer_id=related)
    if event_type.startswith("v1.invoice."):
        why = "a thin event of an invoice does not name its subscription"
        return _Named(object_id=related, unwanted=f"no work: {why}")
    return _Named(object_id=related, unwanted=f"no work: {event_type} changes no seats")


def _work_key(event_type: str, named: _Named) -> str | None:
    if named.subscription_id:
        return f"sub:{named.subscription_id}"
    if named.customer_id and event_type.removeprefix("v1.") in _CUSTOMER_TYPES:
        return f"cus:{named.customer_id}"
    return None


def _account(event: dict[str, Any]) -> str | None:
    """`account` of a Connect snapshot; the last part of a thin event's `context` path."""
    context = _text(event.get("context"))
    return _id(event.get("account")) or (_id(context.rsplit("/", 1)[-1]) if context else None)


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    """NUL cannot be stored in PostgreSQL's text."""
    if isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT and "\0" not in value:
        return value
    return None


def _id(value: object) -> str | None:
    """An id, or the id of an object that was expanded in its place."""
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def _time(value: object) -> datetime | None:
    """Epoch seconds in a snapshot, ISO 8601 in a thin event."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LAST_SECOND:
        return datetime.fromtimestamp(value, UTC)
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            return None
        return found if found.tzinfo and found.year in _YEARS else None
    return None
