"""The story of one thing: nothing of it twice."""

from reconcile.operating import story
from tests.support.operating import put
from tests.support.shop import Shop


def test_what_was_decided_twice_alike_is_told_once(shop: Shop) -> None:
    """From what the event said, and again from what was fetched before the write."""
    change = {"decision": "change", "row": "purchased.below_floor", "reason": "raise Voice back"}
    agrees = {"decision": "nothing", "row": "purchased.agrees", "reason": "5 Voice, 5 active"}
    event_id = put(shop.services, decided=[change, change, agrees])
    told = story.of_event(shop.services, event_id)
    assert told is not None
    decided = [step.facts["row"] for step in told.steps if step.what == "decided"]
    assert decided == ["purchased.below_floor", "purchased.agrees"]
