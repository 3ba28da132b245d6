"""Notices on their way: the specification's bytes and headers, retries, dead letters, slots."""

import base64
import hashlib
import hmac
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text, update
from standardwebhooks import Webhook, WebhookVerificationError

from reconcile.database import exclusive
from reconcile.outward import delivery
from reconcile.services import Services
from reconcile.settling.work import Ended
from reconcile.store import notices
from reconcile.store.notices import Notice
from reconcile.tables import events
from tests.reconcile.outward.conftest import request_of, send, tell, with_settings
from tests.support.host import OLD_SECRET, SECRET, Delivery, Host
from tests.support.services import running_services


def kept(services: Services, notice_id: str) -> Notice:
    with services.sessions() as session:
        found = notices.by_id(session, notice_id)
        assert found is not None
        return found


def row(services: Services, notice_id: str) -> Any:
    with services.sessions() as session:
        return request_of(session, notice_id)


def make_due(services: Services) -> None:
    with services.sessions.begin() as session:
        session.execute(update(events).values(due_at=services.clock()))


def later(services: Services, **time_: int) -> Services:
    """The same services when so much time has passed by our clock."""
    return replace(services, clock=lambda: datetime.now(UTC) + timedelta(**time_))


def verified_by_hand(delivered: Delivery, secret: str) -> bool:
    """The specification's words: base64 of HMAC-SHA256 over `id.timestamp.body`."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = (
        delivered.headers["webhook-id"].encode()
        + b"."
        + delivered.headers["webhook-timestamp"].encode()
        + b"."
        + delivered.body
    )
    mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return f"v1,{mac}" in delivered.headers["webhook-signature"].split(" ")


def test_a_notice_is_delivered_once_signed_as_the_specification_says(
    services: Services, host: Host
) -> None:
    notice_id = tell(services)
    report = send(services, notice_id)
    assert (report.ended, report.line) == (Ended.DONE, "delivered, the host answered 204")
    (came,) = host.came
    assert came.path == "/notices"
    assert came.id == notice_id
    assert abs(int(came.headers["webhook-timestamp"]) - time.time()) < 60
    assert came.headers["content-type"] == "application/json"
    Webhook(SECRET).verify(came.body, dict(came.headers))
    assert verified_by_hand(came, SECRET)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(came.body + b" ", dict(came.headers))
    notice = kept(services, notice_id)
    assert notice.delivered_at is not None
    assert notice.answer_status == 204
    assert send(services, notice_id).ended is Ended.NOTHING_DUE
    assert len(host.came) == 1


def test_the_body_is_type_timestamp_and_data(services: Services, host: Host) -> None:
    notice_id = tell(services, data={"seat_type": "voice", "active": 5, "member_id": "mem_1"})
    send(services, notice_id)
    body = host.came[0].json()
    assert set(body) == {"type", "timestamp", "data"}
    assert body["type"] == "seats.limit_reached"
    assert datetime.fromisoformat(body["timestamp"]) == kept(services, notice_id).created_at
    assert body["data"] == {
        "notice_id": notice_id,
        "organization_id": "org_1",
        "audience": "owner",
        "summary": "No free Voice seat: 5 of 5 in use.",
        "seat_type": "voice",
        "active": 5,
        "member_id": "mem_1",
    }


def test_while_a_secret_is_replaced_both_verify(services: Services, host: Host) -> None:
    both = tuple(map(SecretStr, (SECRET, OLD_SECRET)))
    send(with_settings(services, host_webhook_secrets=both), tell(services))
    (came,) = host.came
    for secret in (SECRET, OLD_SECRET):
        Webhook(secret).verify(came.body, dict(came.headers))
        assert verified_by_hand(came, secret)
    other = "whsec_" + base64.b64encode(b"x" * 24).decode()
    assert not verified_by_hand(came, other)


def test_every_try_has_the_same_id_and_body_and_a_time_of_its_own(
    services: Services, host: Host
) -> None:
    host.answer(500)
    notice_id = tell(services)
    assert send(services, notice_id).ended is Ended.WAITING
    make_due(services)
    assert send(later(services, minutes=2), notice_id).ended is Ended.DONE
    first, second = host.came
    assert (first.id, first.body) == (second.id, second.body)
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) > 100
    assert verified_by_hand(second, SECRET)


@pytest.mark.parametrize("status", [302, 400, 404, 429, 500, 503])
def test_every_other_answer_is_tried_again_later(
    services: Services, host: Host, status: int
) -> None:
    host.answer(status, location=host.url)
    notice_id = tell(services)
    report = send(services, notice_id)
    assert report.ended is Ended.WAITING
    assert f"answered {status}" in report.line
    assert len(host.came) == 1, "a redirect was followed"
    assert row(services, notice_id).state == "pending"
    assert row(services, notice_id).error_fingerprint.startswith(f"HostAway:answered {status}")
    notice = kept(services, notice_id)
    assert (notice.delivered_at, notice.answer_status) == (None, status)


def test_410_stops_it_and_says_so(services: Services, host: Host) -> None:
    host.answer(410)
    notice_id = tell(services)
    report = send(services, notice_id)
    assert report.ended is Ended.DEAD
    assert report.line == (
        "The host application wants no more notices at this address: answered 410; change the "
        "address, or requeue when it is back"
    )
    assert row(services, notice_id).state == "dead"


def test_it_is_tried_for_days_and_then_a_dead_letter(services: Services, host: Host) -> None:
    notice_id = tell(services)
    waited, tries = timedelta(), 0
    report = None
    while tries < 200:
        host.answer(503)
        make_due(services)
        before = datetime.now(UTC)
        report = send(services, notice_id)
        tries += 1
        if report.ended is Ended.DEAD:
            break
        assert report.again_at is not None
        waited += report.again_at - before
    assert report is not None
    assert report.ended is Ended.DEAD
    assert waited > timedelta(days=2)
    assert tries == len(host.came)


def test_a_host_that_asks_for_time_gets_it(services: Services, host: Host) -> None:
    host.answer(429, retry_after="7200")
    notice_id, other = tell(services), tell(services, "org_1/2")
    report = send(services, notice_id)
    assert report.again_at is not None
    assert report.again_at - datetime.now(UTC) > timedelta(minutes=119)
    # The others wait as well.
    held = send(services, other)
    assert held.ended is Ended.POSTPONED
    assert len(host.came) == 1
    assert row(services, other).attempts == 0
    make_due(services)
    assert send(later(services, hours=3), other).ended is Ended.DONE


@pytest.mark.parametrize("retry_after", ["soon", "-1", "99999999999", "1e9", "٣"])
def test_a_strange_wish_for_time_is_not_believed(retry_after: str) -> None:
    assert delivery._seconds(retry_after) is None
    assert delivery._seconds("999999999") == 86400


def test_a_slow_host_is_left_alone_for_a_moment(services: Services, host: Host) -> None:
    host.takes_s = 1.5
    notice_id, other = tell(services), tell(services, "org_1/2")
    report = send(services, notice_id)
    assert "no answer (ReadTimeout)" in report.line
    assert kept(services, notice_id).trouble == "no answer (ReadTimeout)"
    assert send(services, other).ended is Ended.POSTPONED
    assert len(host.came) == 1, "it was tried"
    # The one that failed tries again when its own delay is over; success frees the others.
    host.takes_s = 0
    make_due(services)
    assert send(services, notice_id).ended is Ended.DONE
    make_due(services)
    assert send(services, other).ended is Ended.DONE


def hold_s(services: Services) -> float | None:
    """For how long the last try holds the others back."""
    with services.sessions() as session:
        held = notices.hold(session)
        return None if held is None else held.length.total_seconds()


def test_while_the_host_is_away_the_others_ask_less_and_less(
    services: Services, host: Host
) -> None:
    """Each look is a whole job: 100,000 of them twice a minute leave no time for seats."""
    passed, holds = 0.0, []
    for number in range(7):
        host.answer(503)
        now = later(services, seconds=int(passed))
        assert send(now, tell(services, f"org_1/{number}")).ended is Ended.WAITING
        holds.append(hold_s(services))
        passed += (holds[-1] or 0) + 5
    assert holds == [30, 60, 120, 240, 480, 900, 900]
    # The first success frees whoever asks, and the next time away begins with half a minute.
    now = later(services, seconds=int(passed))
    for number in (7, 8):
        assert send(now, tell(services, f"org_1/{number}")).ended is Ended.DONE
    assert hold_s(services) is None
    host.answer(503)
    send(now, tell(services, "org_1/9"))
    assert hold_s(services) == 30


def test_those_that_wait_come_back_one_after_another(services: Services, host: Host) -> None:
    """All of them at the end of the wait would be a queue of its own."""
    host.answer(503)
    send(services, tell(services))
    with services.sessions() as session:
        held = notices.hold(session)
    assert held is not None
    waits = []
    for number in range(2, 22):
        again_at = send(services, tell(services, f"org_1/{number}")).again_at
        assert again_at is not None
        waits.append(again_at - held.until)
    assert timedelta() < min(waits) < max(waits) < held.length + timedelta(seconds=5)
    assert max(waits) - min(waits) > timedelta(seconds=5)


def crowd(services: Services, from_: datetime, seconds: int) -> None:
    """Fifteen other notices that come due in each of so many seconds."""
    others = (
        "insert into events (id, source, kind, type, work_key, payload, due_at) "
        "select 'tru_' || n, 'request', 'request', :type, 'notice:ntc_' || n, '{}', "
        "cast(:from_ as timestamptz) + make_interval(secs => n / 15.0) "
        "from generate_series(0, :seconds * 15) as n"
    )
    with services.sessions.begin() as session:
        values = {"type": notices.DELIVER, "from_": from_, "seconds": seconds}
        session.execute(text(others), values)


def test_a_crowd_that_waits_for_the_host_is_spread_further(services: Services, host: Host) -> None:
    """However many there are, about ten come due in a second when the host is back."""
    host.answer(503)
    send(services, tell(services))
    with services.sessions() as session:
        held = notices.hold(session)
    assert held is not None
    crowd(services, held.until, 100)
    waits = []
    for number in range(2, 12):
        again_at = send(services, tell(services, f"org_1/{number}")).again_at
        assert again_at is not None
        waits.append(again_at - held.until)
    assert timedelta(seconds=99) < min(waits) < max(waits) < timedelta(seconds=250)


def test_a_crowd_that_waits_for_a_slot_is_spread_further(services: Services, host: Host) -> None:
    """Each look is a whole job, and a slow host takes few of them a second."""
    now = services.clock()
    crowd(services, now, 20)
    with ExitStack() as taken:
        for number in range(services.settings.host_webhook_at_once):
            taken.enter_context(exclusive(services.engine, f"delivery:{number}"))
        report = send(services, tell(services))
    assert (report.ended, len(host.came)) == (Ended.POSTPONED, 0)
    assert report.again_at is not None
    assert timedelta(seconds=19) < report.again_at - now < timedelta(seconds=120)


def test_one_notices_own_tries_do_not_make_the_wait_longer(services: Services, host: Host) -> None:
    """They say nothing of how long the host is away: it may take all the others."""
    notice_id = tell(services)
    for seconds in (0, 3, 8, 20, 60, 120, 300):
        host.answer(503)
        make_due(services)
        assert send(later(services, seconds=seconds), notice_id).ended is Ended.WAITING
    assert hold_s(services) == 30


def test_nobody_listening_is_no_answer(services: Services) -> None:
    nobody = with_settings(services, host_webhook_url="http://127.0.0.1:1/")
    report = send(nobody, tell(services))
    assert report.ended is Ended.WAITING
    assert "no answer (ConnectionError)" in report.line


def test_workers_together_send_no_more_than_allowed_at_once(services: Services, host: Host) -> None:
    host.takes_s = 0.6
    ids = [tell(services, f"org_1/{number}") for number in range(6)]
    reports: list[Ended] = []

    def work(notice_id: str) -> None:
        with running_services(services.settings) as own:
            reports.append(send(own, notice_id).ended)

    threads = [threading.Thread(target=work, args=(each,)) for each in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert host.most_at_once == 2
    assert sorted(reports) == [Ended.DONE] * 2 + [Ended.POSTPONED] * 4
    assert len(host.came) == 2


def test_without_an_address_it_is_kept_and_replayed_later(services: Services, host: Host) -> None:
    notice_id = tell(services)
    silent = with_settings(services, host_webhook_url="")
    report = send(silent, notice_id)
    assert (report.ended, report.line) == (
        Ended.IGNORED,
        "TRUEUP_HOST_WEBHOOK_URL is not set: nobody to tell",
    )
    assert row(services, notice_id).state == "ignored"
    assert row(services, notice_id).reason == report.line
    with services.sessions.begin() as session:
        session.execute(
            update(events).values(state="pending", finished_at=None, due_at=services.clock())
        )
    assert send(services, notice_id).ended is Ended.DONE
    assert [each.id for each in host.came] == [notice_id]


def test_a_proxy_of_the_environment_is_not_used(
    services: Services, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert send(services, tell(services)).ended is Ended.DONE


def test_the_same_is_told_once(services: Services) -> None:
    tell(services)
    with services.sessions.begin() as session:
        again = notices.add(
            session,
            "seats.limit_reached",
            "org_1/1",
            "again",
            organization_id="org_1",
            due_at=services.clock(),
        )
    assert again is None


def test_a_field_nobody_declared_is_refused(services: Services) -> None:
    with pytest.raises(AssertionError, match="email"):
        tell(services, data={"email": "ann@example.com"})
