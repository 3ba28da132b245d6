"""What may be set of notices: encrypted or on this machine, signed, and with usable secrets."""

import base64

import pytest
from pydantic import SecretStr, ValidationError

from reconcile.settings import Settings
from tests.support.host import OLD_SECRET, SECRET


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example.com/trueup",
        "http://127.0.0.1:8000/",
        "http://localhost/x",
        "http://[::1]:9/",
    ],
)
def test_encrypted_or_on_this_machine(url: str) -> None:
    settings = Settings(host_webhook_url=url, host_webhook_secrets=(SecretStr(SECRET),))
    assert settings.host_webhook_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://app.example.com/",
        "http://127.0.0.1.example.com/",
        "http://10.0.0.1/",
        "ftp://localhost/",
        "https://ann:secret@app.example.com/",
        "https://",
        "app.example.com",
    ],
)
def test_anything_else_does_not_start(url: str) -> None:
    with pytest.raises(ValidationError):
        Settings(host_webhook_url=url, host_webhook_secrets=(SecretStr(SECRET),))


def test_no_notice_goes_out_unsigned() -> None:
    with pytest.raises(ValidationError, match="no notice is unsigned"):
        Settings(host_webhook_url="https://app.example.com/")


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "secret",
        "whsec_",
        "whsec_short",
        SECRET.removeprefix("whsec_"),
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
    ],
)
def test_a_weak_secret_does_not_start(secret: str) -> None:
    with pytest.raises(ValidationError, match="24 to 64 bytes"):
        Settings(host_webhook_secrets=(SecretStr(secret),))


def test_two_secrets_while_one_replaces_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUEUP_HOST_WEBHOOK_SECRETS", f"{SECRET}, {OLD_SECRET}")
    assert [each.get_secret_value() for each in Settings().host_webhook_secrets] == [
        SECRET,
        OLD_SECRET,
    ]
    assert SECRET not in repr(Settings())
    monkeypatch.setenv("TRUEUP_HOST_WEBHOOK_SECRETS", f"{SECRET},{OLD_SECRET},{SECRET}")
    with pytest.raises(ValidationError, match="one secret, or two"):
        Settings()


def test_reminders_come_within_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUEUP_REVIEW_REMINDER_DAYS", "10,3")
    assert Settings().review_reminder_days == (10, 3)
    monkeypatch.setenv("TRUEUP_REVIEW_REMINDER_DAYS", "30,3")
    with pytest.raises(ValidationError, match="within review_grace_days"):
        Settings()
    monkeypatch.setenv("TRUEUP_REVIEW_REMINDER_DAYS", "3,10")
    with pytest.raises(ValidationError, match="the most first"):
        Settings()
