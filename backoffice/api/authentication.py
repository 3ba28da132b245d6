"""Who may come in: a bearer token, or the same token as the password a browser asks for.

Failures are answered alike, whatever was wrong, and counted by address, and by token id besides.
A right token is never turned away for the failures of others: nobody can lock the host out.
"""

import time
from datetime import datetime, timedelta
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address

import structlog
from flask import Request, Response
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, RateLimiter
from redis import RedisError

from backoffice.api.problems import problem
from backoffice.api.tokens import NO_DIGEST, Presented, read
from reconcile.services import Services
from reconcile.settings import Settings
from reconcile.store import tokens as store
from reconcile.store.tokens import Token
from worker.queues import connect

# With one token id from one address, and with any of them: ids are invented as easily as secrets.
FAILURES_A_MINUTE = 10
FAILURES_OF_AN_ADDRESS = 60
_USE_NOTED_EVERY = timedelta(minutes=1)
# While the queue's server is away it is not asked at every failure: each asking costs its time-out.
_AWAY_S = 5.0
_NOBODY = Presented("none", "")

# `read` only: a browser sends a Basic password by itself, also for a page that is not ours.
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Failures:
    """Counts failed authentications in a moving minute, shared by all processes.

    Without the queue's server each process counts for itself: still bounded, a little less strict.
    An address over its own limit leaves no trace of the ids that it invents, here or there.
    """

    def __init__(self, settings: Settings) -> None:
        self._limit = RateLimitItemPerMinute(FAILURES_A_MINUTE)
        self._of_address = RateLimitItemPerMinute(FAILURES_OF_AN_ADDRESS)
        pool = connect(settings).connection_pool
        self._shared = MovingWindowRateLimiter(
            RedisStorage(settings.redis_url, connection_pool=pool, key_prefix="trueup:api")
        )
        # Not a moving one: in memory its keys would stay for good.
        self._own = FixedWindowRateLimiter(MemoryStorage())
        self._away_until = 0.0

    def count(self, address: str, token_id: str) -> bool:
        """Count one; returns whether there are too many by now."""
        client = _client_at(address)
        if time.monotonic() >= self._away_until:
            try:
                return self._too_many(self._shared, client, token_id)
            except RedisError:
                self._away_until = time.monotonic() + _AWAY_S
        return self._too_many(self._own, client, token_id)

    def _too_many(self, counted: RateLimiter, client: str, token_id: str) -> bool:
        return not (
            counted.hit(self._of_address, client) and counted.hit(self._limit, client, token_id)
        )


class Gate:
    """Lets a request in with its token, or answers it."""

    def __init__(self, services: Services, failures: Failures) -> None:
        self._services = services
        self._failures = failures

    def admit(self, request: Request) -> Token | Response:
        """Return the token that the request came with, or the answer that turns it away."""
        if "Authorization" not in request.headers:
            return _challenge()
        presented = _presented(request) or _NOBODY
        at = self._services.clock()
        with self._services.sessions.begin() as session:
            found = store.by_id(session, presented.token_id)
            # Compared in any case, so that an unknown id takes as long as a wrong secret.
            right = presented.matches(found.digest if found else NO_DIGEST)
            if found and right and found.usable(at):
                if _use_is_old(found, at):
                    store.mark_used(session, found.id, at)
                return found
        return self._turn_away(request, presented)

    def _turn_away(self, request: Request, presented: Presented) -> Response:
        address = request.remote_addr or "unknown"
        structlog.get_logger().warning(
            "authentication failed", client=address, token_id=presented.token_id
        )
        if self._failures.count(address, presented.token_id):
            return problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too_many_failures",
                "Too many requests without a valid token",
                headers={"Retry-After": "60"},
            )
        return _challenge()


def _challenge() -> Response:
    """Ask for a token. Who brought none has guessed nothing: a browser asks like that first."""
    answer = problem(
        HTTPStatus.UNAUTHORIZED,
        "unauthenticated",
        "A valid token is needed",
        remedies=("send Authorization: Bearer and a token made by `trueup token create`",),
    )
    answer.headers.add("WWW-Authenticate", 'Bearer realm="trueup"')
    answer.headers.add("WWW-Authenticate", 'Basic realm="trueup", charset="UTF-8"')
    return answer


def _presented(request: Request) -> Presented | None:
    authorization = request.authorization
    if authorization is None:
        return None
    if authorization.type == "basic" and request.method in _SAFE_METHODS:
        return read(authorization.password or "")
    if authorization.type == "bearer":
        return read(authorization.token or "")
    return None


def _client_at(address: str) -> str:
    """Return whom an address is: of IPv6 a client has the 2^64 addresses of a network."""
    try:
        found = ip_address(address)
    except ValueError:
        return "unknown"
    if not isinstance(found, IPv6Address):
        return str(found)
    return str(found.ipv4_mapped or f"{int(found) >> 64:x}::/64")


def _use_is_old(token: Token, at: datetime) -> bool:
    return token.last_used_at is None or at - token.last_used_at >= _USE_NOTED_EVERY
