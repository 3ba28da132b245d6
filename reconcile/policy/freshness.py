"""Whether what an event carries may be believed (Law 4): order comes from Stripe, not from clocks.

`created` has whole seconds, and two changes may share one: only a strictly newer snapshot of the
version we read is believed. Everything else is a hint to fetch the object.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Freshness(StrEnum):
    """What to do with a snapshot."""

    BELIEVE = "believe"
    FETCH = "fetch"
    STALE = "stale"  # the object is deleted; nothing later about it can be true
    TOMBSTONE = "tombstone"  # it says the object is deleted: that is final


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What we hold of the object. `as_of` is Stripe's: of a snapshot's event, or of a fetch."""

    as_of: datetime
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What an event says of itself. `created` is Stripe's; a thin event carries no object."""

    created: datetime
    api_version: str | None
    deleted: bool = False
    has_object: bool = True


def judge(
    held: Held | None, snapshot: Snapshot | None, *, api_version: str, before_write: bool = False
) -> Freshness:
    """Return whether to believe the snapshot, fetch the object, or leave it.

    `snapshot` is None when no event is at hand (the nightly run, a person's request).
    `before_write` is set when the answer will be written from: then nothing but a fetch will do.
    """
    if held and held.deleted:
        return Freshness.STALE
    if snapshot and snapshot.deleted:
        return Freshness.TOMBSTONE
    if before_write or snapshot is None or not snapshot.has_object:
        return Freshness.FETCH
    if snapshot.api_version != api_version:
        return Freshness.FETCH
    if held and snapshot.created <= held.as_of:
        return Freshness.FETCH
    return Freshness.BELIEVE
