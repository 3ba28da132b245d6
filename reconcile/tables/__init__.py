"""Every table, as SQLAlchemy Core. PostgreSQL only. Migrations in `migrations/` follow these files.

Amounts are integers in the currency's minor unit; times are timezone-aware.
"""

from reconcile.tables.base import metadata
from reconcile.tables.billing import adjustments, findings, ledger_lines, seats, subscriptions
from reconcile.tables.doors import api_tokens, audit_trail, idempotency_keys, pauses, previews
from reconcile.tables.inbox import events
from reconcile.tables.nights import nightly_counts, nightly_differs, nightly_seen, runs
from reconcile.tables.outward import (
    contract_peaks,
    contracts,
    credit_grants,
    notices,
    reviews,
    usage_signals,
)
from reconcile.tables.roster import auto_add, members, organizations

__all__ = [
    "adjustments",
    "api_tokens",
    "audit_trail",
    "auto_add",
    "contract_peaks",
    "contracts",
    "credit_grants",
    "events",
    "findings",
    "idempotency_keys",
    "ledger_lines",
    "members",
    "metadata",
    "nightly_counts",
    "nightly_differs",
    "nightly_seen",
    "notices",
    "organizations",
    "pauses",
    "previews",
    "reviews",
    "runs",
    "seats",
    "subscriptions",
    "usage_signals",
]
