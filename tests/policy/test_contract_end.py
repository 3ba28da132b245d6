"""The end of a contract is told whether members can be counted or not (A6)."""

import pytest

from reconcile.policy.reconciliation import reconcile_organization
from reconcile.policy.values import ContractEnd, FindingKind
from tests.policy.factories import organization


@pytest.mark.parametrize("problem", [None, "the view is gone"])
@pytest.mark.parametrize(
    ("days_left", "kind", "says"),
    [
        (60, FindingKind.CONTRACT_ENDING, "ends on 2027-04-01, in 60 days:"),
        (1, FindingKind.CONTRACT_ENDING, "ends on 2027-04-01, in 1 day:"),
        (None, FindingKind.CONTRACT_ENDED, "ended on 2027-04-01 and its seats are billed on:"),
    ],
)
def test_the_account_manager_is_told(
    days_left: int | None, kind: FindingKind, says: str, problem: str | None
) -> None:
    """A6."""
    end = ContractEnd(on="2027-04-01", days_left=days_left)
    verdict = reconcile_organization(organization(contract_end=end, counts_problem=problem))
    (seen,) = [o for o in verdict.observations if o.kind in {kind}]
    assert seen.notify == "account_manager"
    assert says in seen.summary
    assert verdict.block_growth == (problem is not None)


def test_without_an_end_in_sight_both_are_over() -> None:
    verdict = reconcile_organization(organization())
    assert {FindingKind.CONTRACT_ENDING, FindingKind.CONTRACT_ENDED} <= verdict.judged
