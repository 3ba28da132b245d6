"""Everything goes wrong at once for some seconds; `make chaos` takes half an hour."""

import subprocess

import pytest

from tests.conftest import ROOT
from tests.support.chaos import again, asked_for, run
from tests.support.chaos_plan import MACHINES, plan

SEED = 20_261_122


@pytest.mark.timeout(300)
def test_after_chaos_every_account_is_right() -> None:
    what = plan(SEED, seconds=8, companies=8)
    ended = run(what)
    assert not ended.problems, "\n".join([ended.last_words, str(what), *ended.problems])


def test_a_plan_is_its_seed_and_nothing_else() -> None:
    assert str(plan(7, seconds=20, companies=9)) == str(plan(7, seconds=20, companies=9))
    assert plan(7, seconds=20, companies=9).steps != plan(8, seconds=20, companies=9).steps


def test_what_is_printed_at_a_failure_plays_the_same_plan() -> None:
    what = plan(7, seconds=12.5, companies=9)
    line = again(what).split()
    recipe = subprocess.run(
        [*line, "-n", "--no-print-directory"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    command = recipe.decode().replace("\\\n", "").splitlines()[-1]
    asked = asked_for(command.partition("tests.support.chaos")[2].split())
    assert str(plan(asked.seed, seconds=asked.seconds, companies=asked.companies)) == str(what)


def test_every_blow_and_every_place_to_die_comes_up() -> None:
    plans = [plan(seed, seconds=30, companies=8) for seed in range(20)]
    assert {step.act for each in plans for step in each.steps} >= MACHINES
    assert len({place for each in plans for place in each.places}) == 5
