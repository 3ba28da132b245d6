"""Which findings are told to the host, and as what."""

import pytest

from reconcile.policy.notices import notice_of
from reconcile.policy.values import FindingKind, Observation

F = FindingKind


@pytest.mark.parametrize(
    ("kind", "urgent", "notify", "told"),
    [
        (F.STRIPE_BELOW_FLOOR, True, None, "drift.found"),
        (F.CONTRACT_DRIFT, False, "account_manager", "drift.found"),
        (F.STRIPE_QUANTITY_CHANGED, False, None, None),
        (F.CONTRACT_ENDING, False, "account_manager", "contract.ending"),
        (F.CONTRACT_ENDED, False, "account_manager", "contract.ending"),
        (F.PAYMENT_DECLINED, False, "payer", "payment.failed"),
        (F.OVER_HARD_CAP, True, "owner", None),  # the review tells it
    ],
)
def test_what_is_urgent_or_names_somebody_is_told(
    kind: FindingKind, urgent: bool, notify: str | None, told: str | None
) -> None:
    seen = Observation(kind=kind, summary="a line", urgent=urgent, notify=notify)
    assert notice_of(seen) == told
