"""Two at once, as real processes: exactly the right one wins, whoever it is, every time.

The order is left to chance and each race is run many times; what must hold is the same after every
one of them. Stripe's side is the proof: its quantities, its invoices, the calls it got.
"""

from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from reconcile.adjustments import seat_change
from reconcile.adjustments.seat_change import Preview
from reconcile.crash_points import CrashPoint
from reconcile.policy.seat_change import Wanted
from reconcile.store import roster
from tests.support.api import running_api
from tests.support.racers import HOST, racers
from tests.support.roster import add_member
from tests.support.shop import Shop
from tests.support.workshop import eventually

ROUNDS = 6


def shown(shop: Shop, organization_id: str = "org_1", **quantities: int) -> Preview:
    """A preview that is one."""
    wanted = Wanted(quantities=quantities)
    found = seat_change.preview(shop.services, organization_id, wanted, actor=HOST)
    assert isinstance(found, Preview), found
    return found


def charged(shop: Shop, sub: str) -> list[dict[str, Any]]:
    """The invoices that changes made."""
    return shop.invoices(sub, "subscription_update")


@pytest.fixture
def sub(shop: Shop) -> str:
    """Two Base and two Voice seats, all in use."""
    sub = shop.subscribe(shop.organization(base=2, voice=2), {"base": 2, "voice": 2})
    shop.settle(sub)
    return sub


def test_two_previews_applied_at_once_one_wins_and_the_other_is_stale(shop: Shop, sub: str) -> None:
    with racers(2, shop.services.settings) as field:
        for lap in range(ROUNDS):
            now = shop.quantities(sub)["voice"]
            seen = [shown(shop, voice=now + 1), shown(shop, voice=now + 2)]
            ended = field.race(*(["apply", "org_1", each.id] for each in seen))
            assert sorted(how for how, *_ in ended) == ["applied", "stale"], ended
            won = seen[0] if ended[0][0] == "applied" else seen[1]
            after = next(s.after for s in won.quote.seats if s.seat_type == "voice")
            assert shop.quantities(sub)["voice"] == after
            assert len(charged(shop, sub)) == lap + 1
            assert charged(shop, sub)[-1]["total"] == won.quote.total_minor
    assert shop.findings(sub) == set()


def test_one_preview_applied_by_three_at_once_is_charged_once(shop: Shop, sub: str) -> None:
    with racers(3, shop.services.settings) as field:
        for lap in range(ROUNDS):
            seen = shown(shop, voice=shop.quantities(sub)["voice"] + 1)
            ended = field.race(*(["apply", "org_1", seen.id] for _ in range(3)))
            assert {how for how, *_ in ended} == {"applied"}, ended
            assert len({adjustment for _, adjustment in ended}) == 1
            assert len(charged(shop, sub)) == lap + 1
            assert shop.writes(sub) == lap + 1


def test_a_reduction_against_an_activation_the_floor_holds(shop: Shop) -> None:
    """The last free seat is either taken or given back, never both (B5).

    Stripe takes its time with each reduction, so that some activations come before it, some while
    it is in flight and some after it.
    """
    slow = {"kind": "slow", "method": "POST", "path": "/v1/subscriptions/*", "delay_s": 0.3}
    ends: Counter[tuple[str, str]] = Counter()
    with racers(2, shop.services.settings) as field:
        for lap in range(ROUNDS):
            name = f"org_{lap}"
            customer = shop.organization(name, base=1, voice=2)
            sub = shop.subscribe(customer, {"base": 1, "voice": 3}, organization_id=name)
            shop.settle(sub)
            with shop.services.sessions.begin() as session:
                add_member(session, name, "eve", seat_type="voice", status="pending")
            seen = shown(shop, name, voice=2)
            shop.sandbox.control("/faults", slow)
            reduced, joined = field.race(
                ["apply", name, seen.id], ["after", lap * 0.07, "activate", name, "eve"]
            )
            ends[reduced[0], joined[0]] += 1
            with shop.services.sessions() as session:
                active = shop.services.roster.counts(session, name).of("voice")
                eve = roster.member(session, name, "eve")
            assert active is not None
            assert eve is not None
            assert active <= shop.quantities(sub)["voice"]
            if reduced[0] == "applied":
                assert (joined[0], eve.status) == ("refused", "pending"), joined
                assert shop.quantities(sub)["voice"] == 2
            else:
                assert (joined[0], eve.status) == ("done", "active"), (reduced, joined)
                assert shop.quantities(sub)["voice"] == 3
    assert sum(ends.values()) == ROUNDS


def test_a_save_against_the_nightly_run_is_made_once_and_not_undone(shop: Shop, sub: str) -> None:
    night = date(2026, 11, 1)
    with racers(3, shop.services.settings) as field:
        for lap in range(ROUNDS // 2):
            now = shop.quantities(sub)["voice"]
            seen = shown(shop, voice=now + 1)
            day = (night + timedelta(days=lap)).isoformat()
            saved, ran, _ = field.race(
                ["apply", "org_1", seen.id], ["night", day], ["apply", "org_1", seen.id]
            )
            assert saved[0] == "applied", saved
            assert ran == ["night", "done"], ran
            field.race(["night", day])
            assert shop.quantities(sub)["voice"] == now + 1
            assert shop.seats(sub)["voice"].quantity == now + 1
            assert len(charged(shop, sub)) == lap + 1
            assert charged(shop, sub)[-1]["total"] == seen.quote.total_minor
    assert shop.findings(sub) == set()


def test_a_save_against_an_edit_in_the_dashboard(shop: Shop, sub: str) -> None:
    """Stripe takes both one after the other. What was saved was charged once and as it was shown,
    or a finding says so; what remains is what came last, and it is agreed on."""
    with racers(2, shop.services.settings) as field:
        for _ in range(ROUNDS):
            now = shop.quantities(sub)["voice"]
            seen = shown(shop, voice=now + 3)
            path = f"/v1/subscriptions/{sub}"
            item = shop.seats(sub)["voice"].item_id
            form = {"items": [{"id": item, "quantity": now + 1}]}
            saved, edited = field.race(["apply", "org_1", seen.id], ["edit", path, form])
            assert edited == ["edited"]
            assert saved[0] in {"applied", "stale"}, saved
            has = shop.quantities(sub)["voice"]
            assert has in ({now + 1, now + 3} if saved[0] == "applied" else {now + 1})
            if saved[0] == "applied":
                made = next(a for a in shop.adjustments(sub) if a.id == saved[1])
                told = "invoice_differs_from_preview" in shop.findings(sub)
                assert made.total_minor == seen.quote.total_minor or told
            shop.settle(sub)
            assert shop.seats(sub)["voice"].quantity == has
            assert shop.quantities(sub)["voice"] == has
    assert len(charged(shop, sub)) == len([a for a in shop.adjustments(sub) if a.invoice_id])


@pytest.mark.parametrize("place", [CrashPoint.AFTER_INTENT, CrashPoint.AFTER_CALL])
def test_the_api_is_killed_in_a_save_and_the_same_request_is_sent_again(
    shop: Shop, sub: str, tmp_path: Path, place: CrashPoint
) -> None:
    """With the same Idempotency-Key: the answer is that of the one change, charged once."""
    marker = tmp_path / "died"
    seen = shown(shop, voice=4)
    crash = {"TRUEUP_CRASH_POINT": f"{place}:{marker}", "TRUEUP_API_REQUEST_TIMEOUT_S": "3"}
    settings, path = shop.services.settings, "/organizations/org_1/seat-changes"
    with running_api(tmp_path, settings, shop.services, **crash) as (api, _):

        def answered() -> bool:
            try:
                said = api.post(path, preview_id=seen.id, key="save-1")
            except requests.ConnectionError:
                return False  # killed in the middle, or its next worker is still starting
            if said.status == 409:
                said.problem(409, "in_progress")
                return False
            assert said.ok(201)["total_minor"] == seen.quote.total_minor
            return True

        eventually(answered)
    assert marker.exists()
    assert shop.quantities(sub)["voice"] == 4
    (invoice,) = charged(shop, sub)
    assert invoice["total"] == seen.quote.total_minor
    (adjustment,) = shop.adjustments(sub)
    assert (adjustment.state, adjustment.invoice_id) == ("applied", invoice["id"])
