"""Pause and resume: what is held is kept, what is let go is charged exactly once."""

import threading
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import event, text

from reconcile import seeing
from reconcile.adjustments import adjusting, preparing, seat_change
from reconcile.adjustments.seat_change import Preview
from reconcile.database import exclusive
from reconcile.errors import Paused
from reconcile.members.activation import activate
from reconcile.nights import checks, nightly
from reconcile.operating import pausing
from reconcile.operating.pausing import Resumed
from reconcile.policy.seat_change import Wanted
from reconcile.policy.values import Change, Proration, Refuse
from reconcile.settling.settle import settle_subscription
from reconcile.settling.work import Ended, work_off
from reconcile.store import pauses
from reconcile.store import roster as roster_store
from reconcile.store.pauses import ORGANIZATION, TYPE, WRITES, Pause
from reconcile.store.roster import AutoAdd
from tests.support.inbox import change_event
from tests.support.operating import (
    KIM,
    audited,
    locks_waited_for,
    put,
    rows,
    work_all,
    working,
)
from tests.support.roster import add_member
from tests.support.shop import Shop
from tests.support.workshop import eventually


def begin(shop: Shop, scope: str, value: str = "") -> Pause:
    begun = pausing.pause(shop.services, scope, value, KIM)
    assert isinstance(begun, Pause), begun
    return begun


def end(shop: Shop, scope: str, value: str = "") -> Resumed:
    ended = pausing.resume(shop.services, scope, value, KIM)
    assert isinstance(ended, Resumed), ended
    return ended


def agencies(shop: Shop, count: int) -> list[str]:
    """So many agencies with three active on three seats; returns their subscriptions."""
    found = []
    for number in range(count):
        name = f"org_{number}"
        customer = shop.organization(name, voice=3)
        found.append(shop.subscribe(customer, {"voice": 3}, organization_id=name))
        shop.settle(found[-1])
    return found


def lowered(shop: Shop, subscription_ids: list[str], *, times: int = 3) -> None:
    """Somebody lowers each below its members, and every event of it comes in `times` times."""
    for subscription_id in subscription_ids:
        shop.edit(subscription_id, "voice", 2)
        for _ in range(times):
            put(shop.services, work_key=f"sub:{subscription_id}", subscription_id=subscription_id,
                kind="thin")  # fmt: skip


def test_a_pause_in_the_middle_of_a_burst_loses_nothing_and_charges_once(shop: Shop) -> None:
    """The kill switch: from its commit on nothing new is sent; resumed, each is charged once."""
    ids = agencies(shop, 8)
    lowered(shop, ids)
    burst = threading.Thread(target=work_all, args=(shop.services,), kwargs={"threads": 3})
    with ExitStack() as others:
        # Two are in somebody else's hands until the pause stands: the burst cannot be over first.
        for each in ids[-2:]:
            assert others.enter_context(exclusive(shop.services.engine, f"sub:{each}"))
        burst.start()
        eventually(lambda: sum(shop.writes(each) for each in ids) >= 2)
        pause = begin(shop, WRITES)
    burst.join()
    work_all(shop.services)
    before = {each: shop.writes(each) for each in ids}
    assert 2 <= sum(before.values()) <= 6
    held = [row for row in rows(shop.services).values() if row.held_by is not None]
    assert len(held) == 8 - sum(before.values())
    assert all(row.state == "pending" and row.held_by == pause.id for row in held)
    assert all(row.attempts == 0 for row in held), "being held is not a try"
    lowered(shop, ids[:2], times=1)
    work_all(shop.services)
    assert {each: shop.writes(each) for each in ids} == before

    ended = end(shop, WRITES)
    assert ended.released >= len(held)
    work_all(shop.services, threads=3)
    for each in ids:
        assert shop.quantities(each)["voice"] == 3
        applied = [one for one in shop.adjustments(each) if one.state == "applied"]
        assert len(shop.invoices(each, "subscription_update")) == len(applied)
    left = [row for row in rows(shop.services).values() if row.state == "pending"]
    assert not left
    wrong = [each for each in checks.run(shop.services) if not each.ok]
    assert [each for each in wrong if "accounted" not in each.name] == []


def test_resuming_makes_held_rows_due_at_once(shop: Shop) -> None:
    (subscription,) = agencies(shop, 1)
    begin(shop, WRITES)
    lowered(shop, [subscription], times=1)
    with working(shop.services):
        eventually(lambda: any(row.held_by for row in rows(shop.services).values()))
        end(shop, WRITES)
        eventually(lambda: shop.quantities(subscription)["voice"] == 3)
    assert shop.writes(subscription) == 1


def test_a_paused_type_waits_and_the_others_go_on(shop: Shop) -> None:
    begin(shop, TYPE, "invoice.paid")
    waits = put(shop.services, type="invoice.paid", work_key="sub:sub_1", kind="thin")
    goes = put(shop.services, type="customer.updated", work_key="cus:cus_1", kind="thin")
    work_all(shop.services)
    found = rows(shop.services)
    assert (found[waits].state, found[waits].attempts) == ("pending", 0)
    assert found[waits].reason == "paused: type invoice.paid by cli:kim: the cause is gone"
    assert found[goes].state == "done"
    assert work_off(shop.services, "sub:sub_1").ended in {Ended.NOTHING_DUE, Ended.PAUSED}

    assert end(shop, TYPE, "invoice.paid").released == 1
    work_all(shop.services)
    assert rows(shop.services)[waits].state == "done"


def test_a_paused_organization_waits_whoever_its_work_comes_by(shop: Shop) -> None:
    """By its subscription, its customer, its own name."""
    first, second = agencies(shop, 2)
    customer = shop.sandbox.get(f"/v1/subscriptions/{first}")["customer"]
    begin(shop, ORGANIZATION, "org_0")
    held = [
        put(shop.services, work_key=f"sub:{first}", subscription_id=first, kind="thin"),
        put(shop.services, work_key=f"cus:{customer}", customer_id=customer, kind="thin"),
        put(shop.services, work_key="org:org_0", organization_id="org_0", kind="request",
            source="request", type="trueup.roster.changed"),
    ]  # fmt: skip
    other = put(shop.services, work_key=f"sub:{second}", subscription_id=second, kind="thin")
    work_all(shop.services)
    found = rows(shop.services)
    assert {found[each].state for each in held} == {"pending"}
    assert all(found[each].held_by for each in held)
    assert found[other].state == "done"
    assert end(shop, ORGANIZATION, "org_0").released == 3
    work_all(shop.services)
    assert {rows(shop.services)[each].state for each in held} == {"done"}


def test_a_redelivery_does_not_free_what_is_held(shop: Shop) -> None:
    begin(shop, TYPE, "invoice.paid")
    event_id = put(shop.services, type="invoice.paid", kind="thin")
    for _ in range(3):
        work_all(shop.services)
        with shop.services.sessions.begin() as session:
            change_event(session, event_id, due_at=shop.services.clock())
    assert rows(shop.services)[event_id].held_by is not None


def test_a_pause_that_was_ended_elsewhere_lets_go_by_itself(shop: Shop) -> None:
    """A database restored, a row written past this code: held rows look again after a while."""
    pause = begin(shop, TYPE, "customer.updated")
    event_id = put(shop.services, type="customer.updated", work_key="cus:cus_1", kind="thin")
    work_all(shop.services)
    end(shop, TYPE, "customer.updated")
    with shop.services.sessions.begin() as session:
        change_event(session, event_id, held_by=pause.id, due_at=shop.services.clock())
    work_all(shop.services)
    assert rows(shop.services)[event_id].state == "done"


def test_a_pause_that_ends_while_a_row_is_being_held_leaves_none_behind(shop: Shop) -> None:
    """Whoever holds a row locks the pause's row; the end of the pause waits for it."""
    begin(shop, TYPE, "invoice.paid")
    event_id = put(shop.services, type="invoice.paid", kind="thin")
    with shop.services.sessions.begin() as session:
        assert pauses.hold(session, "sub:sub_1") == 1
        ending = threading.Thread(target=end, args=(shop, TYPE, "invoice.paid"))
        ending.start()
        eventually(lambda: locks_waited_for(shop.services) == 1 or not ending.is_alive())
        assert ending.is_alive(), "it did not wait"
    ending.join()
    row = rows(shop.services)[event_id]
    assert (row.held_by, row.due_at <= shop.services.clock()) == (None, True)


def hold_many(shop: Shop, pause: Pause, count: int) -> None:
    """So many rows as a pause holds them."""
    with shop.services.sessions.begin() as session:
        session.execute(
            text(
                "insert into events (id, source, kind, type, payload, received_at, due_at, held_by)"
                " select 'evt_' || n, 'webhook', 'thin', 'invoice.paid', '', now(),"
                " now() + interval '15 minutes', :pause from generate_series(1, :count) n"
            ),
            {"pause": pause.id, "count": count},
        )


def test_a_great_many_held_rows_are_freed_by_statements_of_a_bounded_size(shop: Shop) -> None:
    """One statement for all of them would take longer than a statement may: no resuming, ever."""
    pause = begin(shop, TYPE, "invoice.paid")
    count = pauses.FREED_AT_ONCE * 2 + 1
    hold_many(shop, pause, count)
    freed: list[int] = []

    def note(_connection: object, cursor: Any, statement: str, *_: object) -> None:
        if "events" in statement and not statement.lower().startswith("select"):
            freed.append(cursor.rowcount)

    event.listen(shop.services.sessions.kw["bind"], "after_cursor_execute", note)
    assert end(shop, TYPE, "invoice.paid").released == count
    event.remove(shop.services.sessions.kw["bind"], "after_cursor_execute", note)
    assert sum(freed) == count
    assert max(freed) == pauses.FREED_AT_ONCE
    now = shop.services.clock()
    assert all(r.held_by is None and r.due_at <= now for r in rows(shop.services).values())


def test_whoever_resumes_a_great_many_waits_no_longer_than_for_some(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million of them would outlast the caller: the rest is due by itself, as it always was."""
    pause = begin(shop, TYPE, "invoice.paid")
    hold_many(shop, pause, pauses.FREED_AT_ONCE + 2)
    monkeypatch.setattr(pausing, "FREEING_S", 0)
    ended = end(shop, TYPE, "invoice.paid")
    assert (ended.released, ended.left) == (pauses.FREED_AT_ONCE, 2)
    latest = shop.services.clock() + pauses.LOOK_AGAIN
    held = [row for row in rows(shop.services).values() if row.held_by is not None]
    assert len(held) == 2
    assert all(row.due_at <= latest for row in held)
    with shop.services.sessions.begin() as session:
        for row in held:
            change_event(session, row.id, work_key="sub:sub_1", due_at=shop.services.clock())
    assert work_off(shop.services, "sub:sub_1").ended is not Ended.PAUSED
    assert {row.held_by for row in rows(shop.services).values()} == {None}


def test_resuming_that_is_cut_off_leaves_the_rest_to_look_by_itself(shop: Shop) -> None:
    """The pause is over before the first row is freed: whoever looks next lets a row go."""
    begin(shop, TYPE, "invoice.paid")
    event_id = put(shop.services, type="invoice.paid", kind="thin")
    work_all(shop.services)

    def cut_off(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "events" in statement and not statement.lower().startswith("select"):
            raise KeyboardInterrupt

    event.listen(shop.services.sessions.kw["bind"], "before_cursor_execute", cut_off)
    with pytest.raises(KeyboardInterrupt):
        end(shop, TYPE, "invoice.paid")
    event.remove(shop.services.sessions.kw["bind"], "before_cursor_execute", cut_off)
    assert not pausing.in_force(shop.services)
    assert rows(shop.services)[event_id].held_by is not None
    assert len(audited(shop.services, "pause.ended")) == 1
    with shop.services.sessions.begin() as session:
        change_event(session, event_id, due_at=shop.services.clock())
    work_all(shop.services)
    assert rows(shop.services)[event_id].state == "done"


def test_a_person_is_told_and_nothing_is_bought(shop: Shop) -> None:
    """An activation that needs a raise and a save are refused; one with room is not."""
    customer = shop.organization(voice=2, base=1)
    subscription = shop.subscribe(customer, {"voice": 3, "base": 1})
    shop.settle(subscription)
    with shop.services.sessions.begin() as session:
        for name in ("mem_1", "mem_2"):
            add_member(session, "org_1", name, seat_type="voice", status="pending")
        automatic = AutoAdd(seat_type="voice", enabled=True, ceiling_quantity=9, ceiling_minor=None)
        roster_store.write_auto_add(session, "org_1", [automatic])
    wanted = Wanted(quantities={"voice": 5})
    shown = seat_change.preview(shop.services, "org_1", wanted, actor=KIM)
    assert isinstance(shown, Preview), shown
    begin(shop, WRITES)
    saved = seat_change.apply(shop.services, "org_1", shown.id, actor=KIM)
    assert isinstance(saved, Refuse)
    assert saved.code == "paused"
    assert not isinstance(activate(shop.services, "org_1", "mem_1", actor=KIM), Refuse)
    refused = activate(shop.services, "org_1", "mem_2", actor=KIM)
    assert isinstance(refused, Refuse)
    assert refused.code == "paused"
    assert shop.writes(subscription) == 0


def test_what_is_in_flight_when_the_switch_is_thrown_is_finished_after_it(shop: Shop) -> None:
    """An intent is recorded and not sent yet: it waits, and is sent once."""
    (subscription,) = agencies(shop, 1)
    shop.edit(subscription, "voice", 2)
    services = shop.services
    seen = seeing.fetched(services, subscription)
    raises = Change(quantities={"voice": 3}, proration=Proration.CHARGE_NOW, reason="back to 3")
    intent = preparing.prepare(
        services, seen.subscription, raises, trigger="test", active={"voice": 3}
    )
    with services.sessions.begin() as session:
        adjustment = adjusting.intend(session, services, intent)
    begin(shop, WRITES)
    with pytest.raises(Paused, match="writes by cli:kim"):
        adjusting.carry_out(services, adjustment)
    put(services, work_key=f"sub:{subscription}", subscription_id=subscription, kind="thin")
    work_all(services)
    assert [one.state for one in shop.adjustments(subscription)] == ["pending"]
    assert shop.writes(subscription) == 0

    end(shop, WRITES)
    work_all(services)
    assert [one.state for one in shop.adjustments(subscription)] == ["applied"]
    assert shop.writes(subscription) == 1
    assert len(shop.invoices(subscription, "subscription_update")) == 1


def test_nothing_is_intended_while_writes_are_paused(shop: Shop) -> None:
    (subscription,) = agencies(shop, 1)
    shop.edit(subscription, "voice", 2)
    begin(shop, WRITES)
    with (
        exclusive(shop.services.engine, f"sub:{subscription}"),
        pytest.raises(Paused),
    ):
        settle_subscription(shop.services, subscription, trigger="test")
    assert shop.adjustments(subscription) == ()


def test_the_night_is_dry_while_writes_are_paused_and_is_done_again(shop: Shop) -> None:
    (subscription,) = agencies(shop, 1)
    shop.edit(subscription, "voice", 2)
    tonight = shop.services.clock().date()
    begin(shop, WRITES)
    dry = nightly.run(shop.services, tonight, writes=True)
    assert (dry.state, dry.writes, dry.would_change) == ("done", False, 1)
    assert shop.writes(subscription) == 0
    end(shop, WRITES)
    written = nightly.run(shop.services, tonight, writes=True)
    assert (written.state, written.writes) == ("done", True)
    assert shop.quantities(subscription)["voice"] == 3


def test_the_night_leaves_a_paused_organization_to_a_worker(shop: Shop) -> None:
    first, second = agencies(shop, 2)
    for each in (first, second):
        shop.edit(each, "voice", 2)
    begin(shop, ORGANIZATION, "org_0")
    report = nightly.run(shop.services, shop.services.clock().date(), writes=True)
    assert (report.state, report.settled, report.postponed, report.failed) == ("done", 1, 1, 0)
    work_all(shop.services)
    assert (shop.writes(first), shop.writes(second)) == (0, 1)
    end(shop, ORGANIZATION, "org_0")
    work_all(shop.services)
    assert shop.quantities(first)["voice"] == 3


def test_pauses_are_refused_when_they_mean_nothing_and_are_on_record(shop: Shop) -> None:
    shop.organization(voice=1)
    codes = {
        ("writes", "x"): "invalid",
        ("type", "charge.succeeded"): "invalid",
        ("organization", "org_nobody"): "not_found",
        ("nights", ""): "invalid",
    }
    for (scope, value), code in codes.items():
        refused = pausing.pause(shop.services, scope, value, KIM)
        assert isinstance(refused, Refuse)
        assert refused.code == code
    begin(shop, ORGANIZATION, "org_1")
    again = pausing.pause(shop.services, ORGANIZATION, "org_1", KIM)
    assert isinstance(again, Refuse)
    assert again.code == "paused_already"
    end(shop, ORGANIZATION, "org_1")
    nothing = pausing.resume(shop.services, ORGANIZATION, "org_1", KIM)
    assert isinstance(nothing, Refuse)
    assert nothing.code == "not_paused"
    (begun,) = audited(shop.services, "pause.begun")
    assert (begun.actor, begun.subject, begun.because) == (
        "cli:kim",
        "organization org_1",
        KIM.because,
    )
    assert len(audited(shop.services, "pause.ended")) == 1
