"""Activations: the check and the write under one lock, seats bought for who waits, once."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from reconcile.actor import Actor
from reconcile.catalog import Catalog
from reconcile.members.activation import Done, activate, unblock
from reconcile.members.inviting import invite
from reconcile.members.joining import RosterIsTheHosts
from reconcile.members.membership import remove
from reconcile.policy.values import Refuse
from reconcile.roster import HostView, Roster
from reconcile.settings import Settings
from reconcile.settling.work import work_off
from reconcile.store import audit, waiting
from reconcile.store import roster as roster_store
from reconcile.store.roster import AutoAdd
from reconcile.tables import events, subscriptions
from tests.support.roster import add_member, add_members, add_organization
from tests.support.sandbox import Sandbox
from tests.support.services import environment
from tests.support.shop import Shop, opened_shop, with_catalog

HOST = Actor("token:host")


@pytest.fixture
def shop(settings: Settings, sandbox: Sandbox) -> Iterator[Shop]:
    with opened_shop(settings, sandbox) as opened:
        yield opened


def agency(shop: Shop, *, bought: int, active: int, auto_add: bool = False) -> str:
    """An agency with so many Voice seats bought and in use; returns its subscription."""
    customer = shop.organization("org_1", voice=active, base=1)
    subscription_id = shop.subscribe(customer, {"voice": bought, "base": 1})
    shop.settle(subscription_id)
    if auto_add:
        set_auto_add(shop)
    return subscription_id


def set_auto_add(shop: Shop, *, ceiling: int | None = None, minor: int | None = None) -> None:
    with shop.services.sessions.begin() as session:
        setting = AutoAdd(
            seat_type="voice", enabled=True, ceiling_quantity=ceiling, ceiling_minor=minor
        )
        roster_store.write_auto_add(session, "org_1", [setting])


def waits(shop: Shop, *member_ids: str, status: str = "pending", seat_type: str = "voice") -> None:
    with shop.services.sessions.begin() as session:
        for member_id in member_ids:
            add_member(session, "org_1", member_id, status=status, seat_type=seat_type)


def status_of(shop: Shop, member_id: str) -> str:
    with shop.services.sessions() as session:
        member = roster_store.member(session, "org_1", member_id)
        assert member
        return member.status


def active(shop: Shop) -> int:
    with shop.services.sessions() as session:
        return shop.services.roster.counts(session, "org_1").of("voice") or 0


def refusal(shop: Shop, member_id: str) -> Refuse:
    outcome = activate(shop.services, "org_1", member_id, actor=HOST)
    assert isinstance(outcome, Refuse), outcome
    assert status_of(shop, member_id) != "active"
    return outcome


@pytest.mark.parametrize("status", ["invited", "pending"])
def test_a_free_seat_is_taken_at_once_and_nothing_is_written_to_stripe(
    status: str, shop: Shop
) -> None:
    subscription_id = agency(shop, bought=3, active=2)
    waits(shop, "ann", status=status)
    outcome = activate(shop.services, "org_1", "ann", actor=HOST)
    assert outcome == Done(line="active: 3 of 3 Voice seats")
    assert status_of(shop, "ann") == "active"
    assert shop.writes(subscription_id) == 0
    with shop.services.sessions() as session:
        told = session.execute(select(events).where(events.c.work_key == "org:org_1")).one()
        (entry,) = audit.page(session, organization_id="org_1")
    assert told.type == "trueup.roster.changed"
    assert (entry.actor, entry.action, entry.subject) == ("token:host", "member.activated", "ann")
    assert entry.before == {"role": "member", "seat_type": "voice", "status": status}
    assert entry.after == {"role": "member", "seat_type": "voice", "status": "active"}


def test_whoever_is_blocked_does_not_let_themselves_in(shop: Shop) -> None:
    """An unblock is an activation, checked like one; a login is none (B12)."""
    agency(shop, bought=2, active=2)
    waits(shop, "ann", status="blocked")
    waits(shop, "bob")
    assert refusal(shop, "ann").code == "blocked"
    full = unblock(shop.services, "org_1", "ann", actor=HOST)
    assert isinstance(full, Refuse)
    assert full.code == "no_free_seat"
    shop.activate("org_1", "base", 1)
    remove(shop.services, "org_1", "member_voice_active_0", actor=HOST)
    assert getattr(unblock(shop.services, "org_1", "bob", actor=HOST), "code", "") == "not_blocked"
    assert isinstance(unblock(shop.services, "org_1", "ann", actor=HOST), Done)
    assert status_of(shop, "ann") == "active"


def test_a_full_pool_refuses_with_the_counts_and_the_ways_out(shop: Shop) -> None:
    agency(shop, bought=2, active=2)
    waits(shop, "ann")
    refused = refusal(shop, "ann")
    assert refused.code == "no_free_seat"
    assert refused.message == "No free Voice seat: 2 active, 2 bought"
    assert "turn on Auto-Add Seats" in refused.remedies


def test_a_reduction_in_flight_counts_as_done(shop: Shop) -> None:
    subscription_id = agency(shop, bought=4, active=2)
    shop.edit(subscription_id, "voice", 2)
    shop.settle(subscription_id, writes=False)  # S is 2 and our Q still 4
    waits(shop, "ann")
    assert refusal(shop, "ann").code == "no_free_seat"


def test_auto_add_buys_the_seat_and_then_lets_the_member_in(shop: Shop) -> None:
    subscription_id = agency(shop, bought=2, active=2, auto_add=True)
    waits(shop, "ann")
    outcome = activate(shop.services, "org_1", "ann", actor=HOST)
    assert isinstance(outcome, Done)
    assert "charged USD 50.00" in outcome.line
    assert shop.quantities(subscription_id) == {"voice": 3, "base": 1}
    assert status_of(shop, "ann") == "active"
    (adjustment,) = shop.adjustments(subscription_id)
    assert (adjustment.state, adjustment.trigger.split(":")[0]) == ("applied", "activation")
    (invoice,) = shop.invoices(subscription_id, "subscription_update")
    assert invoice["total"] == adjustment.total_minor


def test_a_declined_card_changes_nothing(shop: Shop, sandbox: Sandbox) -> None:
    subscription_id = agency(shop, bought=2, active=2, auto_add=True)
    customer = sandbox.get(f"/v1/subscriptions/{subscription_id}")["customer"]
    sandbox.control("/declines", {"customer": customer, "code": "card_declined"})
    waits(shop, "ann")
    refused = refusal(shop, "ann")
    assert refused.code == "payment_declined"
    assert "declined" in refused.message
    assert shop.quantities(subscription_id) == {"voice": 2, "base": 1}


def test_the_ceiling_of_auto_add_holds(shop: Shop) -> None:
    subscription_id = agency(shop, bought=2, active=2)
    set_auto_add(shop, ceiling=3)
    waits(shop, "ann", "bob")
    assert isinstance(activate(shop.services, "org_1", "ann", actor=HOST), Done)
    assert refusal(shop, "bob").code == "auto_add_limit"
    set_auto_add(shop, minor=15_000)  # three seats at 50.00
    assert refusal(shop, "bob").code == "auto_add_limit"
    assert shop.quantities(subscription_id)["voice"] == 3


def test_what_is_past_due_does_not_grow(shop: Shop) -> None:
    subscription_id = agency(shop, bought=2, active=2, auto_add=True)
    waits(shop, "ann")
    with shop.services.sessions.begin() as session:
        session.execute(update(subscriptions).values(status="past_due"))
    assert refusal(shop, "ann").code == "past_due"
    assert shop.writes(subscription_id) == 0


def test_a_plan_that_activates_first_charges_when_the_change_is_worked_off(shop: Shop) -> None:
    subscription_id = agency(shop, bought=2, active=2, auto_add=True)
    plan = shop.services.catalog.plan("agency")
    eager = replace(plan, rules=replace(plan.rules, activates_first=True))
    catalog = Catalog({**shop.services.catalog.plans, "agency": eager})
    services = with_catalog(shop.services, catalog)
    waits(shop, "ann")
    assert isinstance(activate(services, "org_1", "ann", actor=HOST), Done)
    assert status_of(shop, "ann") == "active"
    assert shop.quantities(subscription_id)["voice"] == 2
    work_off(services, "org:org_1")
    assert shop.quantities(subscription_id)["voice"] == 3
    assert len(shop.invoices(subscription_id, "subscription_update")) == 1


def test_a_plan_that_follows_its_members_buys_without_being_told_to(shop: Shop) -> None:
    customer = shop.organization("org_1", plan="team", member=2)
    subscription_id = shop.subscribe(customer, {"member": 2}, plan="team")
    shop.settle(subscription_id)
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "ann", seat_type="member", status="invited")
    assert isinstance(activate(shop.services, "org_1", "ann", actor=HOST), Done)
    found = shop.sandbox.get(f"/v1/subscriptions/{subscription_id}")
    assert [item["quantity"] for item in found["items"]["data"]] == [3]


def test_an_own_seat_joins_when_it_is_paid(shop: Shop) -> None:
    customer = shop.organization("org_1", plan="workspace_pro")
    waits(shop, "ann", "bob", seat_type="pro")
    assert refusal(shop, "ann").code == "payment_needed"

    def buys(member_id: str, plan: str) -> None:
        bought = shop.subscribe(
            customer, {"pro": 1}, plan=plan, **{"metadata[member_id]": member_id}
        )
        shop.settle(bought)

    buys("ann", "workspace_pro")
    assert isinstance(activate(shop.services, "org_1", "ann", actor=HOST), Done)
    buys("bob", "workspace_business")  # another tier than the pool's
    assert refusal(shop, "bob").code == "tier_mixed"


def test_included_seats_name_the_pool(shop: Shop) -> None:
    with shop.services.sessions.begin() as session:
        add_organization(session, "org_1", plan="commerce_growth")
        add_member(session, "org_1", "olga", role="owner", seat_type=None)
        add_members(session, "org_1", "sales_rep", role="sales_rep", active=3, invited=1)
        add_member(session, "org_1", "adam", role="admin", seat_type="admin", status="invited")
    outcome = activate(shop.services, "org_1", "sales_rep_sales_rep_invited_0", actor=HOST)
    assert isinstance(outcome, Refuse)
    assert outcome.message == "Sales Rep seat limit reached"
    assert outcome.remedies == ("remove a Sales Rep member", "upgrade the plan")
    assert isinstance(activate(shop.services, "org_1", "adam", actor=HOST), Done)


def test_invites_reserve_nothing_and_are_blocked_in_a_trial(shop: Shop) -> None:
    with shop.services.sessions.begin() as session:
        add_organization(session, "org_1", plan="commerce_growth")
        add_organization(session, "org_2", plan="commerce_growth", trial=True)
    assert isinstance(invite(shop.services, "org_1", "ann", role="admin", actor=HOST), Done)
    refused = invite(shop.services, "org_2", "ann", role="admin", actor=HOST)
    assert isinstance(refused, Refuse)
    assert refused.code == "trial_invites_blocked"


def test_where_the_host_has_the_roster_members_are_changed_there(shop: Shop) -> None:
    agency(shop, bought=3, active=2)
    roster = Roster(shop.services.catalog, HostView("host_seats", None))
    with pytest.raises(RosterIsTheHosts):
        activate(replace(shop.services, roster=roster), "org_1", "ann", actor=HOST)


# --- races, with real processes

ACTIVATE = """
import sys
from reconcile.actor import Actor
from reconcile.members.activation import activate
from reconcile.settings import Settings
from tests.support.activating import services
with services(Settings()) as ready:
    sys.stdout.write("ready\\n"); sys.stdout.flush(); sys.stdin.readline()
    for member in sys.argv[1:]:
        organization, _, member = member.rpartition("/")
        done = activate(ready, organization or "org_1", member, actor=Actor("race"))
        print(type(done).__name__, flush=True)
"""


def racing(settings: Settings, *members: str, **variables: str) -> subprocess.Popen[str]:
    """A process that activates the members one after another when it is told to start."""
    process = subprocess.Popen(
        [sys.executable, "-c", ACTIVATE, *members],
        env=os.environ | environment(settings) | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def start(*processes: subprocess.Popen[str]) -> list[list[str]]:
    """Let them all go at the same moment and return what each said, line by line."""
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [process.communicate(timeout=100)[0].splitlines() for process in processes]
    return [[line for line in lines if line in {"Done", "Refuse"}] for lines in told]


def test_two_activations_into_one_free_seat_exactly_one_wins_fifty_times_over(
    shop: Shop, settings: Settings
) -> None:
    rounds = range(50)
    with shop.services.sessions.begin() as session:
        for number in rounds:
            add_organization(session, f"org_{number}", plan="commerce_starter")  # one seat
            add_members(session, f"org_{number}", "sales_rep", role="sales_rep", invited=2)
    rep = "sales_rep_sales_rep_invited"
    first, second = ([f"org_{n}/{rep}_{which}" for n in rounds] for which in (0, 1))
    said = start(racing(settings, *first), racing(settings, *second))
    outcomes = [sorted(pair) for pair in zip(*said, strict=True)]
    assert outcomes == [["Done", "Refuse"]] * 50


def test_two_processes_fill_a_bought_pool_to_the_last_seat_and_no_further(
    shop: Shop, settings: Settings
) -> None:
    seats = 30
    agency(shop, bought=seats, active=0)
    first, second = [f"a{n}" for n in range(seats)], [f"b{n}" for n in range(seats)]
    waits(shop, *first, *second)
    said = start(racing(settings, *first), racing(settings, *second))
    assert sorted(line for each in said for line in each) == ["Done"] * seats + ["Refuse"] * seats
    assert active(shop) == seats


def test_a_burst_is_one_update_of_stripe(shop: Shop, settings: Settings) -> None:
    subscription_id = agency(shop, bought=2, active=2, auto_add=True)
    members = [f"m{n}" for n in range(6)]
    waits(shop, *members)
    said = start(*(racing(settings, member) for member in members))
    assert said == [["Done"]] * 6
    assert shop.quantities(subscription_id)["voice"] == 8
    assert active(shop) == 8
    (adjustment,) = shop.adjustments(subscription_id)
    assert (adjustment.changes[0].from_quantity, adjustment.changes[0].to_quantity) == (2, 8)
    assert len(shop.invoices(subscription_id, "subscription_update")) == 1


def test_a_burst_in_one_process_does_not_wait_for_connections_it_holds_itself(shop: Shop) -> None:
    subscription_id = agency(shop, bought=2, active=2, auto_add=True)
    members = [f"m{n}" for n in range(24)]  # more than twice the connections of a process
    waits(shop, *members)
    with ThreadPoolExecutor(24) as pool:
        ended = pool.map(lambda m: activate(shop.services, "org_1", m, actor=HOST), members)
    assert [type(outcome) for outcome in ended] == [Done] * len(members)
    assert shop.quantities(subscription_id)["voice"] == 26


@pytest.mark.parametrize("place", ["after_asking", "after_intent", "after_call", "after_raise"])
def test_a_kill_between_the_purchase_and_the_seat_is_completed_by_a_worker(
    place: str, shop: Shop, settings: Settings
) -> None:
    subscription_id = agency(shop, bought=2, active=2, auto_add=True)
    waits(shop, "ann")
    killed = racing(settings, "ann", TRUEUP_CRASH_POINT=place)
    assert start(killed) == [[]]
    assert killed.returncode == -signal.SIGKILL
    assert status_of(shop, "ann") == "pending"
    make_due(shop)
    for _ in range(3):
        work_off(shop.services, "org:org_1")
    assert status_of(shop, "ann") == "active"
    assert shop.quantities(subscription_id)["voice"] == 3
    (adjustment,) = shop.adjustments(subscription_id)
    assert adjustment.state == "applied"
    assert len(shop.invoices(subscription_id, "subscription_update")) == 1


def make_due(shop: Shop) -> None:
    """A minute goes by: what a killed process left comes due."""
    with shop.services.sessions.begin() as session:
        session.execute(update(events).where(events.c.state == "pending").values(due_at=func.now()))


def left_behind(shop: Shop, *member_ids: str) -> None:
    """Requests for a seat whose process is gone, due for a worker."""
    with shop.services.sessions.begin() as session:
        for member_id in member_ids:
            waiting.add(session, "org_1", member_id, actor=HOST, due_at=shop.services.clock())


def test_who_asks_twice_is_bought_one_seat(shop: Shop) -> None:
    subscription_id = agency(shop, bought=2, active=2, auto_add=True)
    waits(shop, "ann", "bob")
    left_behind(shop, "ann", "ann", "bob")
    work_off(shop.services, "org:org_1")
    assert [status_of(shop, name) for name in ("ann", "bob")] == ["active", "active"]
    assert shop.quantities(subscription_id)["voice"] == 4


def test_more_requests_than_one_update_takes_are_all_answered(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription_id = agency(shop, bought=2, active=2, auto_add=True)
    waits(shop, "ann", "bob", "eve")
    left_behind(shop, "ann", "bob", "eve")
    monkeypatch.setattr(waiting, "MOST_AT_ONCE", 2)
    work_off(shop.services, "org:org_1")
    assert [status_of(shop, name) for name in ("ann", "bob", "eve")] == ["active"] * 3
    assert shop.quantities(subscription_id)["voice"] == 5
