"""The one settings class: read once at a process's entry point, frozen, passed on explicitly.

Every setting is an environment variable `TRUEUP_<NAME>`. `TRUEUP_<NAME>_FILE` names a file to read
the value from instead, which is how container secrets arrive. Nothing else reads the environment.
"""

import os
from base64 import b64decode
from datetime import time
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

PREFIX = "TRUEUP_"

# The version whose shapes this code reads and writes; pinned on every call (stripe 16.1).
STRIPE_API_VERSION = "2026-10-28.endive"


class _FilesNamedByVariables(PydanticBaseSettingsSource):
    """Reads `TRUEUP_X_FILE=/run/secrets/x` as the value of `TRUEUP_X`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        del field
        path = os.environ.get(f"{PREFIX}{field_name.upper()}_FILE")
        value = Path(path).read_text(encoding="utf-8").strip() if path else None
        return value, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, _ = self.get_field_value(field, name)
            if value is not None:
                found[key] = value
        return found


class Settings(BaseSettings):
    """All settings, with defaults that suit one machine. Durations are seconds, `_s`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    # --- servers
    database_url: str = Field(
        default="",
        description="PostgreSQL, `postgresql+psycopg://...`. Empty: `trueup up`, `demo` and the "
        "tests start an embedded one. Needs session-level connections (no transaction pooling).",
    )
    redis_url: str = Field(
        default="",
        description="Valkey, `redis://...`; `rediss://...` is TLS. Empty: an embedded one.",
    )
    data_dir: Path = Field(
        default=Path(".trueup"), description="Where embedded servers keep their data and logs."
    )

    # --- Stripe
    stripe_api_key: SecretStr = Field(
        default=SecretStr(""), description="Secret or restricted key. Its prefix decides the mode."
    )
    stripe_api_base: str = Field(
        default="https://api.stripe.com", description="Another Stripe, such as `trueup sandbox`."
    )
    stripe_account_id: str = Field(
        default="",
        description="The account whose events are ours. Empty: only events without an account.",
    )
    stripe_timeout_s: float = Field(
        default=20.0, gt=0, description="Read time-out of one Stripe call."
    )
    stripe_requests_per_s: int = Field(
        default=20, gt=0, description="Shared budget of all processes for Stripe calls."
    )

    # --- the public door
    webhook_secrets: Annotated[dict[str, SecretStr], NoDecode] = Field(
        default_factory=dict,
        description="Named signing secrets, `main=whsec_...,connect=whsec_...`. An event signed "
        "with any of them is authentic; empty ones fail closed.",
    )
    webhook_tolerance_s: int = Field(
        default=300, gt=0, description="Largest accepted age of a signature."
    )
    webhook_max_body_bytes: int = Field(
        default=1_048_576, gt=0, description="A larger body is answered 413 and not read."
    )
    ready_max_event_age_s: int = Field(
        default=600, gt=0, description="`/readyz` fails when an event has been due for longer."
    )

    # --- catalog and roster
    catalog_path: Path = Field(
        default=Path("catalog.toml"), description="The catalog file: plans, seat types, prices."
    )
    organization_metadata_key: str = Field(
        default="organization_id",
        description="Metadata key on a Stripe subscription that names its organization.",
    )
    member_metadata_key: str = Field(
        default="member_id",
        description="Metadata key on an own-seat subscription that names its member.",
    )
    roster_view: str = Field(
        default="",
        description="A SQL view `organization_id, seat_type, active` to count from instead of the "
        "member table, `schema.name`. Members and what they may do are then the host's alone.",
    )
    roster_database_url: str = Field(
        default="", description="The host's database holding `roster_view`. Empty: our own."
    )

    # --- the worker
    hint_lease_s: float = Field(
        default=20.0, gt=0, description="A hinted event that nobody took is hinted again after it."
    )
    job_timeout_s: float = Field(
        default=90.0,
        gt=0,
        description="A job that runs longer is stopped with its worker; its events come due again.",
    )
    shutdown_grace_s: float = Field(
        default=8.0,
        gt=0,
        description="After SIGTERM a job may go on for this long; then its events are given back.",
    )
    relay_poll_s: float = Field(
        default=0.05, gt=0, description="How often the relay looks for rows that are due."
    )
    relay_batch: int = Field(default=500, gt=0, description="Work keys hinted in one go.")
    retry_max_attempts: int = Field(
        default=12, gt=0, description="Tries before an event becomes a dead letter."
    )
    retry_base_s: float = Field(default=2.0, gt=0, description="First delay; it doubles each try.")
    retry_cap_s: float = Field(default=3600.0, gt=0, description="Longest delay between tries.")
    settling_window_s: float = Field(
        default=5.0,
        ge=0,
        description="How long after a write of ours a difference is still believed to be on its "
        "way, and waited for.",
    )

    # --- the schedule
    nightly_at: time = Field(default=time(2, 30), description="When the nightly run starts, UTC.")
    nightly_writes: bool = Field(
        default=False, description="Off: the nightly run only says what it would have done."
    )
    gap_audit_at: time = Field(default=time(4, 0), description="When the gap audit starts, UTC.")
    redact_events_days: int = Field(
        default=30,
        ge=1,
        description="Personal data is taken out of finished events after it; their ids stay.",
    )
    keep_events_days: int = Field(
        default=90, ge=31, description="Finished events are pruned after it; Stripe keeps 30 days."
    )

    # --- the API
    api_request_timeout_s: float = Field(
        default=90.0,
        gt=0,
        description="A write with an Idempotency-Key that never answered may run again after it.",
    )

    # --- what leaves for the host application
    host_webhook_url: str = Field(
        default="",
        description="Where the host application takes notices: https, or http on loopback. Empty: "
        "notices are kept and not sent.",
    )
    host_webhook_secrets: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(),
        description="What notices are signed with, `whsec_...` (24 to 64 bytes in base64). Two, "
        "separated by a comma, while one replaces the other: then both sign.",
    )
    host_webhook_timeout_s: float = Field(
        default=5.0, gt=0, le=30, description="Time-out of one notice's delivery."
    )
    host_webhook_at_once: int = Field(
        default=2,
        gt=0,
        description="Deliveries under way at the same time, all workers together: a slow host "
        "keeps no more of them.",
    )
    review_grace_days: int = Field(
        default=30, gt=0, description="Days from an Enterprise review to the restriction (C8)."
    )
    review_reminder_days: Annotated[tuple[int, ...], NoDecode] = Field(
        default=(14, 7, 1),
        description="The owner is reminded so many days before the restriction, `14,7,1`.",
    )

    contract_notice_days: int = Field(
        default=60,
        ge=0,
        description="Days before a contract's end that the account manager is told of it (A6).",
    )

    # --- metrics and logs
    metrics_listen: str = Field(
        default="",
        description="`host:port` where this process answers `/metrics`; empty: nowhere. An "
        "address of its own, so that the public door shows nothing.",
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="`console` is for people at a terminal."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe line that is written."
    )
    otel_traces_url: str = Field(
        default="",
        description="Where traces are sent, OTLP over HTTP, `http://collector:4318/v1/traces`. "
        "Empty: no tracing. Needs `trueup[otel]`.",
    )
    otel_sample: float = Field(
        default=1.0, ge=0, le=1, description="The part of all receipts that is traced."
    )
    sentry_dsn: SecretStr = Field(
        default=SecretStr(""),
        description="Where errors nobody foresaw are reported. Empty: nowhere. Needs "
        "`trueup[sentry]`.",
    )

    @field_validator("webhook_secrets", mode="before")
    @classmethod
    def _parse_named_secrets(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        named = [part.strip() for part in value.replace("\n", ",").split(",") if part.strip()]
        pairs = [part.partition("=") for part in named]
        if wrong := [name for name, equals, _ in pairs if not equals]:
            raise ValueError(f"expected name=secret, found {len(wrong)} without a name")
        if len({name for name, _, _ in pairs}) != len(pairs):
            raise ValueError("two webhook secrets have the same name")
        return {name.strip(): secret.strip() for name, _, secret in pairs}

    @field_validator("host_webhook_secrets", "review_reminder_days", mode="before")
    @classmethod
    def _parse_list(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("host_webhook_secrets")
    @classmethod
    def _usable_secrets(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        # The specification's bounds: https://www.standardwebhooks.com, symmetric secrets.
        if len(secrets) > 2:
            raise ValueError("expected one secret, or two while one replaces the other")
        for secret in secrets:
            prefix, _, encoded = secret.get_secret_value().partition("whsec_")
            try:
                size = len(b64decode(encoded, validate=True))
            except ValueError:
                size = 0
            if prefix or not 24 <= size <= 64:
                raise ValueError("expected whsec_ and 24 to 64 bytes in base64")
        return secrets

    @field_validator("host_webhook_url")
    @classmethod
    def _usable_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.username is not None or parts.password is not None):
            raise ValueError(
                "a name and a password in it are not sent: the signature says who asks"
            )
        if url and not parts.hostname:
            raise ValueError("expected https://host/path")
        if url and parts.scheme != "https" and not _is_loopback(parts):
            raise ValueError("expected https: notices leave this machine only encrypted")
        return url

    @field_validator("review_reminder_days")
    @classmethod
    def _usable_days(cls, days: tuple[int, ...]) -> tuple[int, ...]:
        if any(day <= 0 for day in days) or list(days) != sorted(set(days), reverse=True):
            raise ValueError("expected days before the restriction, the most first: 14,7,1")
        return days

    @model_validator(mode="after")
    def _signed_or_silent(self) -> "Settings":
        if self.host_webhook_url and not self.host_webhook_secrets:
            raise ValueError("host_webhook_url needs host_webhook_secrets: no notice is unsigned")
        if any(day >= self.review_grace_days for day in self.review_reminder_days):
            raise ValueError("review_reminder_days are within review_grace_days")
        return self

    @property
    def livemode(self) -> bool:
        """True for a live key (`sk_live_`, `rk_live_`); events of the other mode are not ours."""
        return self.stripe_api_key.get_secret_value()[3:].startswith("live_")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Explicit arguments win, then variables, then files named by variables."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, _FilesNamedByVariables(settings_cls)


def _is_loopback(parts: SplitResult) -> bool:
    if parts.scheme != "http":
        return False
    try:
        return parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
