"""Law 4: what of an event may be believed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconcile.policy.freshness import Freshness, Held, Snapshot, judge

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
OURS = "2026-10-28.endive"
HELD = Held(as_of=NOW)
NEWER = Snapshot(created=NOW + SECOND, api_version=OURS)


def snapshot(**changes: Any) -> Snapshot:
    return Snapshot(**{"created": NOW + SECOND, "api_version": OURS, **changes})


CASES = {
    "strictly newer, our version": (HELD, NEWER, Freshness.BELIEVE),
    "nothing held yet": (None, NEWER, Freshness.BELIEVE),
    "a tie": (HELD, snapshot(created=NOW), Freshness.FETCH),
    "an older one": (HELD, snapshot(created=NOW - SECOND), Freshness.FETCH),
    "another API version": (HELD, snapshot(api_version="2020-08-27"), Freshness.FETCH),
    "no API version": (HELD, snapshot(api_version=None), Freshness.FETCH),
    "a thin notification": (HELD, snapshot(has_object=False), Freshness.FETCH),
    "no event at hand": (HELD, None, Freshness.FETCH),
    "deleted": (HELD, snapshot(deleted=True), Freshness.TOMBSTONE),
    "deleted, told late": (
        HELD,
        snapshot(deleted=True, created=NOW - SECOND),
        Freshness.TOMBSTONE,
    ),
    "anything after the end": (Held(as_of=NOW, deleted=True), NEWER, Freshness.STALE),
}


@pytest.mark.parametrize(("held", "event", "expected"), CASES.values(), ids=CASES.keys())
def test_what_may_be_believed(
    held: Held | None, event: Snapshot | None, expected: Freshness
) -> None:
    assert judge(held, event, api_version=OURS) == expected


def test_before_a_write_only_a_fetch_will_do() -> None:
    assert judge(HELD, NEWER, api_version=OURS, before_write=True) == Freshness.FETCH
