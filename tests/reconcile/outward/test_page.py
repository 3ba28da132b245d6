"""The page for hosts says what the code does: every type with its fields, and the numbers."""

from reconcile.errors import WAITING_EXTRA_ATTEMPTS
from reconcile.outward import delivery
from reconcile.settings import Settings
from tests.support.notices_doc import PAGE, notices_table


def test_every_notice_is_on_the_page_as_it_is() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert notices_table() in page, "run python -m tests.support.notices_doc"


def test_the_numbers_on_the_page_are_those_of_the_code() -> None:
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    settings = Settings()
    assert "within five seconds" in page
    assert settings.host_webhook_timeout_s == 5
    assert "after 2 s, 4 s, 8 s, up to an hour apart, for three days" in page
    assert (settings.retry_base_s, settings.retry_cap_s) == (2, 3600)
    assert WAITING_EXTRA_ATTEMPTS == 3 * 24
    assert "a day later at most" in page
    assert delivery.LONGEST_WAIT.days == 1
    assert "half a minute" in page
    assert delivery.BREATH.seconds == 30
    assert "up to a quarter of an hour" in page
    assert delivery.LONGEST_BREATH.seconds == 15 * 60
