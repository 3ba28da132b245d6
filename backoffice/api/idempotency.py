"""`Idempotency-Key`: what was done once is not done again, and is answered as it was.

Kept is an answer that says what was done (2xx) or what was tried with a card and failed (402). A
refusal did nothing: it depends on a state that passes (a pause, a full pool, a change in flight),
so the same request runs again. 202 and 5xx say "not yet". Another request under the key is refused,
whatever became of the first.

Around the views, the same for all of them. The key is claimed before the view runs and the answer
kept after it, each in a transaction of its own. A process that dies in between leaves a claim that
runs out; the retry then runs the view again, which finds what was done, because every operation is
safe to repeat.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

from flask import Request, Response

from backoffice.api.problems import CONTENT_TYPE, problem
from reconcile.services import Services
from reconcile.store import idempotency as store
from reconcile.store.idempotency import Kept

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_LONGEST_KEY = 255


@dataclass(frozen=True, slots=True)
class Claim:
    """A key that is ours until `locked_until`."""

    token_id: str
    key: str
    locked_until: datetime


class Idempotency:
    """Claims keys and keeps answers."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lock = timedelta(seconds=services.settings.api_request_timeout_s)

    def begin(self, request: Request, token_id: str) -> Claim | Response | None:
        """Return the claim, the answer to give instead, or None for a request without a key."""
        key = request.headers.get(HEADER)
        if key is None:
            return None
        if not (0 < len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable()):
            return problem(
                HTTPStatus.BAD_REQUEST,
                "idempotency_key_invalid",
                f"{HEADER} must be 1 to {_LONGEST_KEY} printable ASCII characters",
            )
        at = self._services.clock()
        claim = Claim(token_id, key, at + self._lock)
        digest = _digest(request)
        with self._services.sessions.begin() as session:
            kept = store.claim(
                session,
                token_id,
                key,
                request_digest=digest,
                at=at,
                locked_until=claim.locked_until,
            )
        return claim if kept is None else _answer(kept, digest, at)

    def end(self, claim: Claim, answer: Response) -> None:
        """Keep the answer, or let go of the key where the same request should run again."""
        names = (claim.token_id, claim.key)
        status = answer.status_code
        tried = status == HTTPStatus.PAYMENT_REQUIRED
        done = 200 <= status < 300 and status != HTTPStatus.ACCEPTED
        with self._services.sessions.begin() as session:
            if not (done or tried):
                at = self._services.clock()
                store.release(session, *names, locked_until=claim.locked_until, at=at)
                return
            store.settle(
                session,
                *names,
                locked_until=claim.locked_until,
                status=answer.status_code,
                content_type=answer.content_type or CONTENT_TYPE,
                answer=answer.get_data(),
            )


def _digest(request: Request) -> str:
    said = b"\n".join((request.method.encode(), request.full_path.encode(), request.get_data()))
    return hashlib.sha256(said).hexdigest()


def _answer(kept: Kept, digest: str, at: datetime) -> Response:
    if kept.request_digest != digest:
        return problem(
            HTTPStatus.CONFLICT,
            "idempotency_key_reused",
            f"This {HEADER} was used for another request",
            remedies=("make a new key for each request",),
        )
    if kept.state == "running":
        again_s = min(5, max(1, round((kept.locked_until - at).total_seconds())))
        return problem(
            HTTPStatus.CONFLICT,
            "in_progress",
            "The same request is being worked on",
            remedies=("send it again in a moment",),
            headers={"Retry-After": str(again_s)},
        )
    assert kept.status is not None, "what is done has an answer"
    answer = Response(kept.answer or b"", kept.status, content_type=kept.content_type)
    answer.headers[REPLAYED] = "true"
    return answer
