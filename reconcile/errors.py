"""What can go wrong, classified once: retry later, wait for others, permanent, rate limited.

Code anywhere raises one of these (or lets a library's error through); only `classify` decides what
becomes of the work, and only `retry_delay` decides when. An error's message is its class docstring
plus the detail it was raised with. No Stripe SDK in here: `stripe_api` translates its errors.
"""

# ruff: noqa: N818 - named for what becomes of the work, which reads better where it is raised

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from random import Random
from traceback import extract_tb

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from reconcile import scrub
from reconcile.settings import Settings

# After the ordinary tries, what waits for others (a row to be imported, the host application to
# answer) looks once per `retry_cap_s` for this many times more: at the default hour that is three
# days, as long as Stripe itself redelivers.
WAITING_EXTRA_ATTEMPTS = 72

_OWN_ROOMS = ("reconcile", "worker", "webhooks", "backoffice")
_LONGEST_LINE = 500


class ErrorClass(StrEnum):
    """What becomes of the work: Law 7."""

    RETRY = "retry"
    WAITING = "waiting"
    PERMANENT = "permanent"
    RATE_LIMITED = "rate_limited"


class TrueupError(Exception):
    """Something went wrong."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        summary = (type(self).__doc__ or type(self).__name__).partition("\n")[0].rstrip(".")
        return f"{summary}: {self.detail}" if self.detail else summary


class RetryLater(TrueupError):
    """It may work later."""


class Busy(RetryLater):
    """Another process is at it."""


class WaitingForOthers(TrueupError):
    """Somebody else has to do something first."""


class WaitingForRow(WaitingForOthers):
    """A row that this work needs has not been imported yet."""


class Paused(TrueupError):
    """It is held until somebody resumes it."""

    def __init__(self, detail: str = "", *, pause_id: int) -> None:
        super().__init__(detail)
        self.pause_id = pause_id


class Permanent(TrueupError):
    """Trying again would fail the same way."""


class RateLimited(TrueupError):
    """Too many calls at once."""

    def __init__(self, detail: str = "", *, retry_after_s: float = 1.0) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class _StripeFacts(TrueupError):
    """Stripe answered with an error."""

    def __init__(
        self,
        detail: str = "",
        *,
        code: str | None = None,
        param: str | None = None,
        http_status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.param = param
        self.http_status = http_status
        self.request_id = request_id

    def __str__(self) -> str:
        facts = {"code": self.code, "parameter": self.param, "request": self.request_id}
        known = ", ".join(f"{name} {value}" for name, value in facts.items() if value)
        return f"{super().__str__()} ({known})" if known else super().__str__()


class StripeUnavailable(_StripeFacts, RetryLater):
    """Stripe could not be reached or answered with a server error; nothing was written."""


class OutcomeUnknown(_StripeFacts, RetryLater):
    """A write was sent to Stripe and no answer came; it may or may not have been applied."""


class StripeKeyRefused(_StripeFacts, RetryLater):
    """Stripe refused the API key or it lacks a right; `trueup doctor` says which."""


class StripeRejected(_StripeFacts, Permanent):
    """Stripe refused the request."""


class CardDeclined(StripeRejected):
    """The payment was declined; nothing was changed."""


class StripeGone(StripeRejected):
    """Stripe knows no such object."""


class StripeRateLimited(_StripeFacts, RateLimited):
    """Stripe asked us to slow down."""

    def __init__(  # noqa: PLR0913 - the facts of an answer, all by name
        self,
        detail: str = "",
        *,
        retry_after_s: float = 1.0,
        code: str | None = None,
        param: str | None = None,
        http_status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(
            detail, code=code, param=param, http_status=http_status, request_id=request_id
        )
        self.retry_after_s = retry_after_s


class HostAway(WaitingForOthers):
    """The host application did not take a notice."""

    def __init__(self, detail: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class HostGone(Permanent):
    """The host application wants no more notices at this address."""


class Interrupted(BaseException):
    """The job was interrupted. No `except Exception` may hold it up."""

    def __str__(self) -> str:
        return type(self).__doc__ or type(self).__name__


class JobOverdue(Interrupted):
    """The job ran longer than it may and was stopped."""


class ShuttingDown(Interrupted):
    """The process was told to stop; the work was given back."""


@dataclass(frozen=True, slots=True)
class Classified:
    """An error as the inbox remembers it: what becomes of the work, and one line for a person.

    The fingerprint names the same mistake whoever it happens to: no ids, no amounts. On-call
    groups and requeues dead letters by it.
    """

    error_class: ErrorClass
    fingerprint: str
    line: str
    retry_after_s: float | None = None


def classify(error: BaseException) -> Classified:
    """Return what becomes of the work that raised `error`.

    An error nobody foresaw is a bug: the same facts would fail the same way, and money may be
    involved, so a person looks first. Only what is known to pass by itself is tried again.
    """
    retry_after_s = error.retry_after_s if isinstance(error, RateLimited | HostAway) else None
    return Classified(_class_of(error), _fingerprint(error), _line(error), retry_after_s)


def _class_of(error: BaseException) -> ErrorClass:
    match error:
        case RateLimited():
            return ErrorClass.RATE_LIMITED
        case WaitingForOthers():
            return ErrorClass.WAITING
        case RetryLater() | Paused() | Interrupted():
            return ErrorClass.RETRY
        # Two processes can meet on a unique index; the second one reads the row the next time.
        case (
            OperationalError()
            | InterfaceError()
            | IntegrityError()
            | PoolTimeout()
            | DBAPIError(connection_invalidated=True)
            | ConnectionError()
            | TimeoutError()
        ):
            return ErrorClass.RETRY
        case _:
            return ErrorClass.PERMANENT


def _fingerprint(error: BaseException) -> str:
    name = type(error).__name__
    if isinstance(error, _StripeFacts):
        return ":".join(part for part in (name, error.code, error.param) if part)
    if isinstance(error, HostAway | HostGone):
        return f"{name}:{error.detail}"
    own = [
        frame
        for frame in extract_tb(error.__traceback__)
        if any(f"/{room}/" in frame.filename for room in _OWN_ROOMS)
    ]
    if not own:
        return name
    module = own[-1].filename.rpartition("/")[2].removesuffix(".py")
    return f"{name}@{module}.{own[-1].name}"


def _line(error: BaseException) -> str:
    said = " ".join(str(error).split())
    line = (
        said if isinstance(error, TrueupError | Interrupted) else f"{type(error).__name__}: {said}"
    )
    return scrub.words(line)[:_LONGEST_LINE]


def retry_delay(
    attempt: int,
    settings: Settings,
    random: Random,
    *,
    error_class: ErrorClass = ErrorClass.RETRY,
    waited: bool = False,
) -> timedelta | None:
    """Return how long to wait after the failed try number `attempt` (from 1), or None to give up.

    Doubles from `retry_base_s` to `retry_cap_s`; between half and all of it, so that what failed
    together does not come back together. What has `waited` for others used up its tries with that:
    it is given the same patience whatever stops it next.
    """
    assert attempt >= 1
    if error_class is ErrorClass.PERMANENT:
        return None
    patient = waited or error_class is ErrorClass.WAITING
    extra = WAITING_EXTRA_ATTEMPTS if patient else 0
    if attempt >= settings.retry_max_attempts + extra:
        return None
    doublings = min(attempt - 1, 32)
    delay_s = min(settings.retry_base_s * 2**doublings, settings.retry_cap_s)
    return timedelta(seconds=delay_s * (0.5 + random.random() / 2))
