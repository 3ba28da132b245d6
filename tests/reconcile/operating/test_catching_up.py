"""One command after an outage: lost events come in, what failed is tried again, all is compared."""

from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import delete

from reconcile.nights import checks
from reconcile.operating.catching_up import catch_up
from reconcile.services import Services
from reconcile.settling.work import Ended
from reconcile.store import pauses
from reconcile.tables import events
from tests.reconcile.outward.conftest import send, tell, with_settings
from tests.support.host import SECRET, running_host
from tests.support.operating import KIM, audited, dead, put, rows, working
from tests.support.shop import Shop


def said(lines: list[str]) -> str:
    return "; ".join(lines)


def write(services: Services) -> Services:
    """The same services, whose nights write."""
    return replace(services, settings=services.settings.model_copy(update={"nightly_writes": True}))


def test_after_an_outage_of_everything_one_command_brings_all_current(shop: Shop) -> None:
    """The receiver lost events, the queue its memory, Stripe was away until rows died of it."""
    services = write(shop.services)
    customer = shop.organization(voice=3)
    subscription = shop.subscribe(customer, {"voice": 3})
    shop.settle(subscription)
    other = shop.organization("org_2", voice=2)
    drifted = shop.subscribe(other, {"voice": 2}, organization_id="org_2")
    shop.settle(drifted)
    # The receiver was away: nobody told of this, and Stripe has given up.
    shop.edit(subscription, "voice", 2)
    with services.sessions.begin() as session:
        session.execute(delete(events))
    # Stripe was away: tried until it was a dead letter, and one that waits for its next try.
    key = f"sub:{drifted}"
    died = dead(services, "StripeUnavailable", error_class="retry", work_key=key,
                subscription_id=drifted, kind="thin")  # fmt: skip
    later = services.clock() + timedelta(hours=1)
    waits = put(services, error_class="retry", attempts=9, due_at=later, kind="thin",
                work_key=f"cus:{other}", customer_id=other)  # fmt: skip
    lines: list[str] = []
    with working(services):
        done = catch_up(services, KIM, tell=lines.append, wait_s=60)
    assert done.well, done
    assert done.brought_in >= 1
    assert (done.requeued, done.hurried) == (1, 1)
    assert done.ended == {"done": 1}
    assert shop.quantities(subscription)["voice"] == 3
    assert shop.writes(subscription) == 1
    found = rows(services)
    assert (found[died].state, found[waits].state) == ("done", "done")
    assert any(row.source == "backfill" for row in found.values())
    assert audited(services, "event.requeued")[0].subject == died
    assert "missing" in said(lines)

    with working(services):
        again = catch_up(services, KIM, tell=lines.append, wait_s=60)
    # What our own write told meanwhile comes in, and there is nothing to do about it.
    assert (again.well, again.requeued, shop.writes(subscription)) == (True, 0, 1)
    assert [each.detail for each in checks.run(services) if not each.ok] == []


def test_what_no_event_tells_is_found_by_the_comparison(shop: Shop) -> None:
    """A quantity changed so long ago that Stripe forgot the event: the night sees it."""
    services = write(shop.services)
    customer = shop.organization(voice=3)
    subscription = shop.subscribe(customer, {"voice": 3})
    shop.settle(subscription)
    with working(services):
        assert catch_up(services, KIM, tell=lambda _: None, wait_s=60).well
    shop.activate("org_1", "voice", 2)
    shop.edit(subscription, "voice", 1)
    with working(services):
        done = catch_up(services, KIM, tell=lambda _: None, wait_s=60)
    assert done.well
    assert shop.quantities(subscription)["voice"] == 2


def test_notices_that_wait_for_one_that_failed_are_delivered_too(shop: Shop) -> None:
    """The host is back, and whoever says so is not to wait for up to hours."""
    with running_host() as host:
        services = with_settings(
            write(shop.services),
            host_webhook_url=host.url,
            host_webhook_secrets=(SecretStr(SECRET),),
        )
        told = {tell(services, f"org_1/{number}") for number in range(3)}
        host.answer(503, retry_after="3000")
        ended = [send(services, each).ended for each in told]
        assert ended == [Ended.WAITING, Ended.POSTPONED, Ended.POSTPONED]
        with working(services):
            for _ in told:
                host.answer(503, retry_after="3000")
            away = catch_up(services, KIM, tell=lambda _: None, wait_s=20)
            assert (away.untold, away.well) == (3, False), away
            host.answers.clear()
            tried = len(host.came)
            done = catch_up(services, KIM, tell=lambda _: None, wait_s=20)
        assert {each.id for each in host.came[tried:]} == told
        assert done.well, done


@pytest.mark.parametrize("error_class", ["permanent", "waiting"])
def test_what_would_fail_the_same_way_is_left_to_a_person(shop: Shop, error_class: str) -> None:
    event_id = dead(shop.services, error_class=error_class)
    done = catch_up(shop.services, KIM, tell=lambda _: None, wait_s=5)
    assert (done.requeued, done.dead, done.well) == (0, 1, False)
    assert rows(shop.services)[event_id].state == "dead"


def test_without_workers_it_says_what_is_left(shop: Shop) -> None:
    put(shop.services, kind="thin")
    done = catch_up(shop.services, KIM, tell=lambda _: None, wait_s=0.5)
    assert (done.unfinished, done.well) == (1, False)


def test_a_pause_stays_a_pause(shop: Shop) -> None:
    with shop.services.sessions.begin() as session:
        pauses.add(session, pauses.WRITES, "", KIM)
    customer = shop.organization(voice=3)
    subscription = shop.subscribe(customer, {"voice": 3})
    shop.settle(subscription)
    shop.edit(subscription, "voice", 2)
    with working(shop.services):
        done = catch_up(write(shop.services), KIM, tell=lambda _: None, wait_s=20)
    assert done.night is not None
    assert not done.night.writes
    assert shop.writes(subscription) == 0
