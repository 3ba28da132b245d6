"""A notice on its way to the host application: one signed POST, after Standard Webhooks.

At least once: a worker killed between the host's answer and our mark sends it again, with the same
`webhook-id`. No more of them are under way than the settings allow, whatever the number of workers,
and a host that does not answer is left alone for a moment, so that a slow host costs no worker its
other work. The specification: https://github.com/standard-webhooks/standard-webhooks.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

import orjson
import requests
import structlog
from pydantic import SecretStr
from standardwebhooks import Webhook

from reconcile import metrics
from reconcile.crash_points import CrashPoint, crash_point
from reconcile.database import exclusive
from reconcile.errors import HostAway, HostGone, Permanent
from reconcile.outward.told import Told
from reconcile.services import Services
from reconcile.store import notices
from reconcile.store.notices import Hold, Notice, Try

# After no answer, or one that asks for time, no other notice is sent for so long: at first, and at
# most when one try after another fails. It grows with the time that the host is away.
BREATH = timedelta(seconds=30)
LONGEST_BREATH = timedelta(minutes=15)
# A host may ask for more time than our own delays give it, but not to be forgotten.
LONGEST_WAIT = timedelta(days=1)
# How soon to look again while the slots are taken: spread, so that those who wait do not crowd.
SLOT_WAIT_S = 3.0
# No more of those that wait come due in one second: each look is a whole job.
MOST_A_SECOND = 10
SECOND = timedelta(seconds=1)

_GONE = 410
_ASKS_FOR_TIME = (429, 503)


class NoSuchNotice(Permanent):
    """There is no such notice."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the host said: a status and how long to wait, in seconds; no status: nothing came."""

    status: int | None
    retry_after_s: float | None = None
    trouble: str = ""

    @property
    def taken(self) -> bool:
        """Whether it is a success in the specification's words: 2xx and nothing else."""
        return self.status is not None and 200 <= self.status < 300


def deliver(services: Services, notice_id: str) -> Told:
    """Send the notice once and return how it ended.

    Raises HostAway for every answer that is none of success (the work is tried again, for days),
    HostGone for 410, NoSuchNotice.
    """
    if not services.settings.host_webhook_url:
        return Told(line="TRUEUP_HOST_WEBHOOK_URL is not set: nobody to tell", ignored=True)
    with services.sessions() as session:
        notice = notices.by_id(session, notice_id)
        hold = notices.hold(session)
    if notice is None:
        raise NoSuchNotice(notice_id)
    now = services.clock()
    if hold is not None and hold.notice_id != notice_id and hold.until > now:
        # Spread over as long again: a crowd at the end would be a wait of its own, for seats too.
        widest = min(hold.length, LONGEST_BREATH)
        again_at = _place(services, hold.until, widest.total_seconds())
        return Told(line="the host did not answer a moment ago", again_at=again_at)
    with _slot(services) as mine:
        if not mine:
            again_at = _place(services, now, SLOT_WAIT_S)
            return Told(line="other notices are on their way", again_at=again_at)
        answer = post(services, notice, at=now)
    if answer.taken:
        crash_point(CrashPoint.AFTER_DELIVERY)
    _write_down(services, notice, answer)
    if answer.status == _GONE:
        raise HostGone("answered 410; change the address, or requeue when it is back")
    if not answer.taken:
        raise HostAway(answer.trouble, retry_after_s=answer.retry_after_s)
    return Told(line=f"delivered, the host answered {answer.status}")


def post(services: Services, notice: Notice, *, at: datetime) -> Answer:
    """Send the notice and return what was answered; the answer's body is not read."""
    settings = services.settings
    body = body_of(notice)
    headers = signed(notice.id, body, settings.host_webhook_secrets, at=at)
    with requests.Session() as client:
        client.trust_env = False  # no proxy and no .netrc of whoever started the process
        try:
            answered = client.post(
                settings.host_webhook_url,
                data=body,
                headers=headers,
                timeout=settings.host_webhook_timeout_s,
                allow_redirects=False,
                stream=True,
            )
        except requests.RequestException as error:
            return Answer(None, trouble=f"no answer ({type(error).__name__})")
    status = answered.status_code
    if answered.is_redirect:
        return Answer(status, trouble=f"answered {status}: redirects are not followed")
    wait_s = _seconds(answered.headers.get("retry-after", ""))
    return Answer(status, retry_after_s=wait_s, trouble=f"answered {status}")


def body_of(notice: Notice) -> bytes:
    """Return the body: type, the time of what happened, and data. The same bytes at every try."""
    data = {
        "notice_id": notice.id,
        "organization_id": notice.organization_id,
        "audience": notice.audience,
        "summary": notice.summary,
    }
    return orjson.dumps(
        {"type": notice.type, "timestamp": notice.created_at, "data": data | dict(notice.data)},
        option=orjson.OPT_UTC_Z | orjson.OPT_SORT_KEYS,
    )


def signed(
    message_id: str, body: bytes, secrets: tuple[SecretStr, ...], *, at: datetime
) -> dict[str, str]:
    """Return the headers of one try: the time of this try, and one signature for each secret."""
    at = at.astimezone(UTC).replace(microsecond=0)
    signatures = [
        Webhook(secret.get_secret_value()).sign(message_id, at, body.decode()) for secret in secrets
    ]
    return {
        "content-type": "application/json",
        "user-agent": "Trueup",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


@contextmanager
def _slot(services: Services) -> Iterator[bool]:
    """Hold one of the few places for a delivery; yields False when all are taken."""
    with ExitStack() as held:
        yield any(
            held.enter_context(exclusive(services.engine, f"delivery:{number}"))
            for number in range(services.settings.host_webhook_at_once)
        )


def _write_down(services: Services, notice: Notice, answer: Answer) -> None:
    now = services.clock()
    asks_for_time = answer.status is None or answer.status in _ASKS_FOR_TIME
    with services.sessions.begin() as session:
        asked_for = timedelta(seconds=answer.retry_after_s or 0)
        breath = max(_breath(notices.hold(session), notice.id, now), asked_for)
        tried = Try(
            at=now,
            delivered=answer.taken,
            status=answer.status,
            trouble=None if answer.taken else answer.trouble,
            holds_until=now + breath if asks_for_time else None,
        )
        notices.write_try(session, notice.id, tried)
    result = "delivered" if answer.taken else "no_answer" if answer.status is None else "refused"
    metrics.NOTICES.labels(result=result).inc()
    structlog.get_logger().info(
        "notice", notice=notice.id, type=notice.type, status=answer.status, result=result
    )


def _breath(last: Hold | None, notice_id: str, now: datetime) -> timedelta:
    if last is None:
        return BREATH
    # A try within the last one's wait tells of no longer outage; nor do those of one notice alone,
    # which may be all that the host cannot take.
    outlasted = now >= last.until and last.notice_id != notice_id
    return min(last.length * 2 if outlasted else last.length, LONGEST_BREATH)


def _place(services: Services, from_: datetime, widest_s: float) -> datetime:
    """Return when to look again: in a second that is not full, else in one as far off again.

    So the wait grows with the crowd, which nobody has to count.
    """
    random = Random()  # noqa: S311 - it only spreads
    nearest_s = 1.0
    with services.sessions() as session:
        while True:
            place = from_ + timedelta(seconds=random.uniform(nearest_s, widest_s))
            there = notices.due_within(session, place - SECOND / 2, SECOND, limit=MOST_A_SECOND)
            if there < MOST_A_SECOND or widest_s >= LONGEST_WAIT.total_seconds():
                return place
            nearest_s, widest_s = widest_s, widest_s * 2


def _seconds(retry_after: str) -> float | None:
    """Read Retry-After given in seconds; a date is rare, and our own delays do as well."""
    if not retry_after.isascii() or not retry_after.isdigit() or len(retry_after) > 9:
        return None
    return min(float(retry_after), LONGEST_WAIT.total_seconds())
