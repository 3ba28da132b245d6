"""`Idempotency-Key`: one execution, one answer, whatever is sent twice, at once, or cut off."""

import threading
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from sqlalchemy import update

from reconcile.settings import Settings
from reconcile.store import audit, idempotency
from reconcile.tables import idempotency_keys
from tests.support.api import Client, Reply, a_token, api_of, running_api
from tests.support.roster import add_member
from tests.support.shop import Shop

NEW = {"id": "org_1", "name": "Harbour", "plan": "agency"}


def made(shop: Shop) -> int:
    """How often the organization was really made."""
    with shop.services.sessions() as session:
        return len(audit.page(session, action="organization.created"))


def at(shop: Shop, api: Client, seconds: float) -> Client:
    """The same caller so much later."""
    later = api_of(shop.at(shop.services.clock() + timedelta(seconds=seconds)).services)
    return later.with_token(api.token)


def test_the_same_request_again_is_answered_the_same(api: Client, shop: Shop) -> None:
    first = api.post("/organizations", NEW, key="k1").ok(201)
    api.patch("/organizations/org_1", name="Renamed").ok()
    again = api.post("/organizations", NEW, key="k1").ok(201)
    assert again.text == first.text
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert made(shop) == 1


def test_a_refusal_is_not_kept_once_its_reason_has_passed(api: Client, shop: Shop) -> None:
    """A full pool, a pause, a wrong value: nothing was done, so nothing is to be said again."""
    customer = shop.organization(voice=2)
    subscription = shop.subscribe(customer, {"voice": 2, "base": 1})
    shop.settle(subscription)
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "ann", status="pending")
    path = "/organizations/org_1/members/ann/activate"
    for _ in range(2):
        full = api.post(path, key="k1").problem(409, "no_free_seat")
        assert "Idempotency-Replayed" not in full.headers
    # Not said again, but still the key of this request alone.
    api.post("/organizations", NEW | {"id": "org_2"}, key="k1").problem(
        409, "idempotency_key_reused"
    )
    api.post("/organizations/org_1/members/member_voice_active_0/remove").ok()
    done = api.post(path, key="k1").ok(200)
    again = api.post(path, key="k1").ok(200)
    assert (again.text, again.headers["Idempotency-Replayed"]) == (done.text, "true")

    pause = {"scope": "writes", "because": "an incident"}
    api.post("/pauses", pause).ok(201)
    wanted = {"quantities": {"voice": 4}}
    seen = api.post("/organizations/org_1/seat-changes/preview", wanted).ok(201)
    save = "/organizations/org_1/seat-changes"
    api.post(save, preview_id=seen["id"], key="k2").problem(409, "paused")
    api.post("/pauses/resume", pause).ok()
    assert api.post(save, preview_id=seen["id"], key="k2").ok(201)["adjustment_id"]


def test_a_payment_that_was_declined_is_kept(api: Client, shop: Shop) -> None:
    """The card was asked: the same request again does not ask it again."""
    subscription = shop.subscribe(shop.organization(voice=2), {"voice": 2, "base": 1})
    shop.settle(subscription)
    customer = shop.sandbox.get(f"/v1/subscriptions/{subscription}")["customer"]
    shop.sandbox.control("/declines", {"customer": customer, "code": "card_declined"})
    seen = api.post("/organizations/org_1/seat-changes/preview", {"quantities": {"voice": 4}}).ok(
        201
    )
    save = "/organizations/org_1/seat-changes"
    first = api.post(save, preview_id=seen["id"], key="k1").problem(402, "payment_declined")
    again = api.post(save, preview_id=seen["id"], key="k1").problem(402, "payment_declined")
    assert (again.text, again.headers["Idempotency-Replayed"]) == (first.text, "true")
    assert len(shop.adjustments(subscription)) == 1


@pytest.mark.parametrize("other", ["body", "path", "method"])
def test_another_request_under_the_key_is_refused(api: Client, shop: Shop, other: str) -> None:
    api.post("/organizations", NEW, key="k1").ok(201)
    if other == "body":
        reused = api.post("/organizations", NEW | {"name": "Other"}, key="k1")
    elif other == "path":
        reused = api.post("/organizations?x=1", NEW, key="k1")
    else:
        reused = api.send("PATCH", "/organizations/org_1", body=NEW, key="k1")
    reused.problem(409, "idempotency_key_reused")
    assert made(shop) == 1


def test_keys_are_each_tokens_own(api: Client, shop: Shop) -> None:
    api.post("/organizations", NEW, key="k1").ok(201)
    other = api.with_token(a_token(shop.services))
    other.post("/organizations", NEW | {"id": "org_2"}, key="k1").ok(201)


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
def test_a_key_that_is_none_is_refused(api: Client, key: str) -> None:
    refused = api.post("/organizations", NEW, key=key)
    refused.problem(400, "idempotency_key_invalid")


def test_what_is_wrong_inside_is_not_kept(
    api: Client, monkeypatch: pytest.MonkeyPatch, shop: Shop
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr("reconcile.members.organizations.create", broken)
        api.post("/organizations", NEW, key="k1").problem(500, "internal_error")
    api.post("/organizations", NEW, key="k1").ok(201)
    assert made(shop) == 1


def test_reads_take_no_key(api: Client, shop: Shop) -> None:
    assert api.send("GET", "/organizations", key="k1").ok()["data"] == []
    shop.organization()
    assert len(api.send("GET", "/organizations", key="k1").ok()["data"]) == 1


def test_twenty_at_once_are_one_execution(tmp_path: Path, settings: Settings, shop: Shop) -> None:
    """Over HTTP, on two worker processes; run a few times, since it is about luck."""
    with running_api(tmp_path, settings, shop.services) as (api, _):
        for attempt in range(3):
            body = NEW | {"id": f"org_{attempt}"}
            replies = together(
                20, lambda body=body, key=f"k{attempt}": api.post("/organizations", body, key=key)
            )
            statuses = Counter(reply.status for reply in replies)
            assert set(statuses) <= {201, 409}, statuses
            assert statuses[201] >= 1
            for reply in replies:
                if reply.status == 409:
                    reply.problem(409, "in_progress")
                    assert reply.headers["Retry-After"]
            fresh = [
                r for r in replies if r.status == 201 and "Idempotency-Replayed" not in r.headers
            ]
            assert len(fresh) == 1
            assert made(shop) == attempt + 1


def test_a_killed_process_leaves_a_key_that_runs_out_and_a_seat_that_was_bought_once(
    tmp_path: Path, settings: Settings, shop: Shop
) -> None:
    customer = shop.organization(voice=2)
    subscription = shop.subscribe(customer, {"voice": 2, "base": 1})
    shop.settle(subscription)
    with shop.services.sessions.begin() as session:
        add_member(session, "org_1", "ann", status="pending")
    died = tmp_path / "died"
    trap = {"TRUEUP_CRASH_POINT": f"before_answer:{died}"}
    with running_api(tmp_path, settings, shop.services, **trap) as (api, _):
        api.put("/organizations/org_1/auto-add/voice", enabled=True).ok()
        path = "/organizations/org_1/members/ann/activate"
        with pytest.raises(requests.ConnectionError):
            api.post(path, key="k1")
        assert died.exists()
        retried(api, path).problem(409, "in_progress")  # the claim of the dead one
        let_it_run_out(shop, settings.api_request_timeout_s)
        reply = retried(api, path).ok(200)
        assert "already" in reply["line"]
        again = api.post(path, key="k1").ok(200)
        assert again.headers["Idempotency-Replayed"] == "true"
    assert shop.quantities(subscription)["voice"] == 3
    assert len(shop.adjustments(subscription)) == 1
    assert len(shop.invoices(subscription, "subscription_update")) == 1


def test_keys_are_forgotten_after_their_time(api: Client, shop: Shop) -> None:
    api.post("/organizations", NEW, key="k1").ok(201)
    now = shop.services.clock()
    with shop.services.sessions.begin() as session:
        assert idempotency.prune(session, before=now - timedelta(hours=24), limit=10) == 0
        assert idempotency.prune(session, before=now + timedelta(seconds=1), limit=10) == 1
    api.post("/organizations", NEW | {"name": "Other"}, key="k1").problem(
        409, "organization_exists"
    )


def let_it_run_out(shop: Shop, after_s: float) -> None:
    """Let so much time pass for the one key there is; it is held no longer than that."""
    passed = timedelta(seconds=after_s)
    with shop.services.sessions.begin() as session:
        held = idempotency_keys.c.locked_until
        until = session.scalars(
            update(idempotency_keys).values(locked_until=held - passed).returning(held)
        ).one()
    assert until < shop.services.clock()


def retried(api: Client, path: str) -> Reply:
    """Send it again, also while granian starts another worker in the dead one's place."""
    for _ in range(600):
        try:
            return api.post(path, key="k1")
        except requests.ConnectionError:
            time.sleep(0.1)
    raise AssertionError("nobody listens any more")


def together(count: int, call: object) -> list[Reply]:
    """Make the call from so many threads at once."""
    assert callable(call)
    ready = threading.Barrier(count)
    replies: list[Reply] = []

    def one() -> None:
        ready.wait()
        replies.append(call())

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies
