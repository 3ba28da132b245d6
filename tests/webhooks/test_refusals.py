"""What a process of the door remembers of its refusals, and how it is read."""

from webhooks.refusals import LATELY_S, Refusals, Run, heard


class Clock:
    """A clock that a test moves."""

    at = 1_000_000.0

    def __call__(self) -> float:
        return self.at


def test_refusals_are_counted_by_outcome_from_the_first_to_the_last() -> None:
    clock = Clock()
    refusals = Refusals(clock)
    refusals.count("bad_signature")
    clock.at += 60
    refusals.count("too_large")
    refusals.count("bad_signature")
    assert heard(refusals.told()) == {
        "bad_signature": Run(count=2, since=1_000_000, last=1_000_060),
        "too_large": Run(count=1, since=1_000_060, last=1_000_060),
    }


def test_after_a_day_of_quiet_they_are_over() -> None:
    clock = Clock()
    refusals = Refusals(clock)
    refusals.count("bad_signature")
    clock.at += LATELY_S + 1
    assert heard(refusals.told()) == {}
    refusals.count("bad_signature")
    assert heard(refusals.told())["bad_signature"].count == 1


def test_what_another_release_says_is_no_refusal() -> None:
    """Signs of life have been `1` and empty before they said anything."""
    for told in ("", "1", "[]", '{"bad_signature": 3}', "not json"):
        assert heard(told) == {}
