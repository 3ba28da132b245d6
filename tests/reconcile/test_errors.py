"""Errors are classified once (Law 7), and the delay between tries is a value."""

from random import Random

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError, OperationalError

from reconcile.errors import (
    WAITING_EXTRA_ATTEMPTS,
    CardDeclined,
    ErrorClass,
    Interrupted,
    JobOverdue,
    OutcomeUnknown,
    Permanent,
    RateLimited,
    RetryLater,
    StripeGone,
    StripeKeyRefused,
    StripeRateLimited,
    StripeRejected,
    StripeUnavailable,
    TrueupError,
    WaitingForRow,
    classify,
    retry_delay,
)
from reconcile.settings import Settings

CLASSES = [
    (RetryLater("later"), ErrorClass.RETRY),
    (StripeUnavailable("no answer"), ErrorClass.RETRY),
    (OutcomeUnknown("timed out"), ErrorClass.RETRY),
    (StripeKeyRefused("401", code="api_key_expired"), ErrorClass.RETRY),
    (JobOverdue(), ErrorClass.RETRY),
    (ConnectionResetError("peer"), ErrorClass.RETRY),
    (TimeoutError("slow"), ErrorClass.RETRY),
    (IntegrityError("insert", {}, Exception("in flight")), ErrorClass.RETRY),
    (WaitingForRow("organization org_1"), ErrorClass.WAITING),
    (RateLimited("budget", retry_after_s=3), ErrorClass.RATE_LIMITED),
    (StripeRateLimited("429", retry_after_s=2), ErrorClass.RATE_LIMITED),
    (Permanent("no"), ErrorClass.PERMANENT),
    (StripeRejected("bad", code="parameter_invalid"), ErrorClass.PERMANENT),
    (StripeGone("sub_1", code="resource_missing"), ErrorClass.PERMANENT),
    (CardDeclined("no funds", code="card_declined"), ErrorClass.PERMANENT),
    (KeyError("items"), ErrorClass.PERMANENT),
    (AssertionError("the floor"), ErrorClass.PERMANENT),
]


@pytest.mark.parametrize(("error", "expected"), CLASSES, ids=lambda value: type(value).__name__)
def test_each_error_has_its_class(error: BaseException, expected: ErrorClass) -> None:
    assert classify(error).error_class is expected


def test_a_database_that_is_away_is_tried_again() -> None:
    engine = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=1")
    with pytest.raises(OperationalError) as raised, engine.connect() as connection:
        connection.execute(text("select 1"))
    assert classify(raised.value).error_class is ErrorClass.RETRY


def test_the_line_tells_a_person_what_and_where_to_look() -> None:
    error = StripeRejected("No such price", code="resource_missing", param="items[0][price]")
    error.request_id = "req_1"
    assert classify(error).line == (
        "Stripe refused the request: No such price "
        "(code resource_missing, parameter items[0][price], request req_1)"
    )


def test_the_same_mistake_has_the_same_fingerprint_whoever_it_happens_to() -> None:
    def of(error: TrueupError) -> str:
        return classify(error).fingerprint

    one = StripeGone("No such subscription: sub_1", code="resource_missing", request_id="req_1")
    two = StripeGone("No such subscription: sub_2", code="resource_missing", request_id="req_2")
    assert of(one) == of(two) == "StripeGone:resource_missing"
    assert of(one) != of(StripeRejected("other", code="parameter_invalid"))


def test_a_bug_is_named_by_the_place_it_was_raised_at() -> None:
    with pytest.raises(AssertionError) as raised:
        retry_delay(0, Settings(), Random(1))
    assert classify(raised.value).fingerprint == "AssertionError@errors.retry_delay"


def test_a_rate_limit_carries_its_delay() -> None:
    assert classify(StripeRateLimited("429", retry_after_s=2.5)).retry_after_s == 2.5


def test_a_very_long_message_is_cut_to_a_line() -> None:
    line = classify(ValueError("x\n" * 5000)).line
    assert len(line) <= 500
    assert "\n" not in line


def test_no_except_exception_holds_an_interruption_up() -> None:
    assert not issubclass(Interrupted, Exception)


def test_the_delay_doubles_with_jitter_up_to_its_cap_and_ends() -> None:
    settings = Settings(retry_base_s=2, retry_cap_s=60, retry_max_attempts=8)
    for attempt, full_s in enumerate([2, 4, 8, 16, 32, 60, 60], start=1):
        delays = [retry_delay(attempt, settings, Random(seed)) for seed in range(50)]
        seconds = [delay.total_seconds() for delay in delays if delay]
        assert len(seconds) == 50
        assert full_s / 2 <= min(seconds) < max(seconds) <= full_s
        assert max(seconds) - min(seconds) > full_s / 4, "they would come back together"
    assert retry_delay(8, settings, Random(1)) is None


def test_a_permanent_error_is_not_tried_again() -> None:
    assert retry_delay(1, Settings(), Random(1), error_class=ErrorClass.PERMANENT) is None


def test_a_row_that_is_waited_for_gets_three_days() -> None:
    settings = Settings()
    last = settings.retry_max_attempts + WAITING_EXTRA_ATTEMPTS - 1
    waited_s = 0.0
    for attempt in range(1, last + 1):
        delay = retry_delay(attempt, settings, Random(attempt), error_class=ErrorClass.WAITING)
        assert delay is not None
        waited_s += delay.total_seconds()
    assert waited_s > 2 * 86400
    assert retry_delay(last + 1, settings, Random(1), error_class=ErrorClass.WAITING) is None
