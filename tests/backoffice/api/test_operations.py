"""On-call over HTTP: the same functions as the command's, for tokens that may operate."""

from typing import Any

import pytest

from reconcile.services import Services
from tests.support.api import Client, a_token
from tests.support.operating import (
    audited,
    dead,
    put,
    raised_back,
    rows,
    work_all,
    working,
)
from tests.support.shop import Shop


@pytest.fixture
def services(shop: Shop) -> Services:
    return shop.services


def bound(api: Client, services: Services, organization_id: str) -> Client:
    """The same API with a token of one organization."""
    return api.with_token(a_token(services, organization_id=organization_id))


def part(status: Any, name: str) -> Any:
    return next(each for each in status["parts"] if each["name"] == name)


def test_dead_letters_are_found_counted_requeued_and_end(api: Client, services: Services) -> None:
    ids = [dead(services, work_key=f"sub:sub_{n}", kind="thin") for n in range(3)]
    found = api.get("/events", state="dead", limit=2).ok()
    assert len(found["data"]) == 2
    rest = api.get("/events", state="dead", cursor=found["next_cursor"]).ok()
    assert {each["id"] for each in (*found["data"], *rest["data"])} == set(ids)
    assert api.get("/events", not_state=["ignored", "dead"]).ok()["data"] == []
    assert len(api.get("/events", not_state="ignored").ok()["data"]) == len(ids)
    api.get("/events", not_state="no state").problem(422, "invalid")

    same = {"filters": {"fingerprint": "Boom@work.settle"}, "because": "mended"}
    dry = api.post("/events/requeue", same, dry_run=True).ok()
    assert (dry["count"], dry["dry_run"]) == (3, True)
    assert {row.state for row in rows(services).values()} == {"dead"}

    with working(services):
        done = api.post("/events/requeue", same, wait_s=15).ok()
    assert done["count"] == 3
    assert {each["state"] for each in done["ended"]} == {"done"}
    token = rows(services)[ids[0]].reason
    assert audited(services, "event.requeued")[0].actor.startswith("token:tok_"), token


def test_a_repair_says_why_and_names_what(api: Client, services: Services) -> None:
    event_id = dead(services)
    api.post("/events/requeue", event_ids=[event_id]).problem(422, "invalid")
    api.post("/events/requeue", because="why").problem(422, "invalid")
    both = {"event_ids": [event_id], "filters": {"state": "dead"}, "because": "why"}
    api.post("/events/requeue", both).problem(422, "invalid")
    left = api.post("/events/requeue", event_ids=["evt_none"], because="why").ok()
    assert (left["count"], left["refused"]) == (0, {"evt_none": "no such event"})


def test_an_event_tells_its_story(api: Client, shop: Shop, services: Services) -> None:
    _, event_id = raised_back(services, shop, voice=3)
    told = api.get(f"/events/{event_id}").ok()
    steps = [step["what"] for step in told["steps"]]
    in_order = ["received", "decided", "intended", "called Stripe", "outcome", "ended"]
    assert [each for each in dict.fromkeys(steps) if each in in_order] == in_order
    decided = next(step for step in told["steps"] if step["what"] == "decided")
    (seat,) = [each for each in decided["facts"]["seats"] if each["seat_type"] == "voice"]
    assert (seat["active"], seat["bought"], seat["in_stripe"]) == (3, 3, 2)
    assert decided["facts"]["row"] == "purchased.below_floor"
    assert any(step["what"] == "invoice line" for step in told["steps"])


def test_discarding_and_bringing_back(api: Client, services: Services) -> None:
    event_id = dead(services)
    done = api.post("/events/discard", event_ids=[event_id], because="a test of Stripe's").ok()
    assert done["event_ids"] == [event_id]
    assert rows(services)[event_id].state == "discarded"
    api.post("/events/requeue", event_ids=[event_id], because="after all").ok()
    assert rows(services)[event_id].state == "pending"


def test_pausing_shows_and_resuming_lets_go(api: Client, shop: Shop, services: Services) -> None:
    shop.organization(voice=1)
    api.post("/pauses", scope="organization", value="org_1", because="audit").ok(201)
    api.post("/pauses", scope="organization", value="org_1", because="audit").problem(
        409, "paused_already"
    )
    put(services, organization_id="org_1", kind="thin")
    work_all(services)
    (pause,) = api.get("/pauses").ok()["data"]
    assert (pause["scope"], pause["value"], pause["held"]) == ("organization", "org_1", 1)
    shown = part(api.get("/status").ok(), "PAUSED")
    assert not shown["well"]
    assert shown["do"] == ['trueup resume organization org_1 --because "..."']
    (job,) = api.get("/jobs").ok()["data"]
    assert job["state"] == "held"
    ended = api.post("/pauses/resume", scope="organization", value="org_1", because="done").ok()
    assert ended["released"] == 1
    assert api.get("/pauses").ok()["data"] == []


def test_status_says_what_is_not_well(api: Client, services: Services) -> None:
    dead(services)
    found = api.get("/status").ok()
    assert not found["well"]
    letters = part(found, "dead letters")
    assert "Boom@work.settle" in letters["line"]
    assert "trueup events requeue" in letters["do"][0]
    assert part(found, "queue")["well"]


def test_reconcile_explains_without_a_trace_and_does_it_on_record(
    api: Client, shop: Shop, services: Services
) -> None:
    customer = shop.organization(voice=3)
    subscription = shop.subscribe(customer, {"voice": 3})
    shop.settle(subscription)
    shop.activate("org_1", "voice", 4)
    shop.edit(subscription, "voice", 2)
    (told,) = api.post("/reconcile/explain", id=subscription).ok()["data"]
    assert told["inputs"]["decision"] == "change"
    assert told["would"]["write"] == {"voice": 4}
    assert told["would"]["total_minor"] > 0
    assert shop.findings(subscription) == set()
    assert shop.writes(subscription) == 0

    done = api.post("/reconcile", id=subscription, because="the dashboard was wrong").ok()
    assert done["state"] == "done"
    assert shop.quantities(subscription)["voice"] == 4
    assert audited(services, "reconcile.requested")[0].because == "the dashboard was wrong"
    for nothing in ("org_nobody", f"{subscription}?limit=1", f"{subscription}#x", "sub_.."):
        api.post("/reconcile/explain", id=nothing).problem(404, "not_found")
        api.post("/reconcile", id=nothing, because="a slip").problem(404, "not_found")


def test_a_reconciliation_that_goes_on_is_not_kept_as_its_end(api: Client, shop: Shop) -> None:
    """Repeated under its key for a day, `pending` would be said long after it was done."""
    shop.settle(shop.subscribe(shop.organization(voice=3), {"voice": 3}))
    pause = {"scope": "organization", "value": "org_1", "because": "an incident"}
    api.post("/pauses", pause).ok(201)
    asked = {"id": "org_1", "because": "the dashboard was wrong"}
    assert api.post("/reconcile", asked, key="k1").ok(202)["state"] == "pending"
    api.post("/pauses/resume", pause).ok()
    done = api.post("/reconcile", asked, key="k1").ok(200)
    assert done["state"] == "done"
    again = api.post("/reconcile", asked, key="k1").ok(200)
    assert (again.text, again.headers["Idempotency-Replayed"]) == (done.text, "true")


def test_a_count_that_really_is_zero_is_confirmed(
    api: Client, shop: Shop, services: Services
) -> None:
    customer = shop.organization(voice=3)
    subscription = shop.subscribe(customer, {"voice": 3})
    shop.settle(subscription)
    asked = {"subscription_id": subscription, "seat_type": "voice", "because": "they left"}
    api.post("/findings/confirm-zero", asked).problem(409, "not_zero")
    shop.activate("org_1", "voice", 0)
    shop.settle(subscription)
    assert "counts_suddenly_zero" in shop.findings(subscription)
    done = api.post("/findings/confirm-zero", asked).ok()
    assert (done["organization_id"], done["was"]) == ("org_1", 3)
    assert "what was bought stays bought" in done["follows"]
    work_all(services)
    assert "counts_suddenly_zero" not in shop.findings(subscription)
    assert audited(services, "seats.zero_confirmed")[0].subject == f"{subscription}/voice"


def test_a_token_of_one_organization_sees_and_touches_that_one_only(
    api: Client, shop: Shop, services: Services
) -> None:
    for name in ("org_1", "org_2"):
        shop.organization(name, voice=1)
    own = dead(services, organization_id="org_1", kind="request", source="request",
               work_key="org:org_1")  # fmt: skip
    other = dead(services, organization_id="org_2", kind="request", source="request",
                 work_key="org:org_2")  # fmt: skip
    one = bound(api, services, "org_1")
    assert [each["id"] for each in one.get("/events").ok()["data"]] == [own]
    one.get("/events", organization_id="org_2").problem(404, "not_found")
    one.get(f"/events/{own}").ok()
    one.get(f"/events/{other}").problem(404, "not_found")
    one.post("/events/requeue", event_ids=[other], because="mine?").problem(404, "not_found")
    all_dead = {"filters": {"state": "dead"}, "because": "mine"}
    assert one.post("/events/requeue", all_dead).ok()["event_ids"] == [own]
    assert rows(services)[other].state == "dead"
    one.get("/status").problem(403, "not_allowed")
    one.post("/pauses", scope="writes", because="mine").problem(403, "not_allowed")
    one.post("/pauses", scope="organization", value="org_2", because="x").problem(404, "not_found")
    one.post("/pauses", scope="organization", value="org_1", because="x").ok(201)
    one.post("/reconcile/explain", id="org_2").problem(404, "not_found")


def test_operating_needs_its_scope(api: Client, services: Services) -> None:
    reader = api.with_token(a_token(services, "read", "members", "billing"))
    for path in ("/status", "/events", "/jobs", "/pauses"):
        reader.get(path).problem(403, "scope_missing")
    reader.post("/pauses", scope="writes", because="x").problem(403, "scope_missing")
