"""docs/rules.md held against the domain, the code and the tests.

That each test fails when its rule is broken is shown by `make rules`, which breaks every rule once.
"""

import re

import pytest

from tests.support import rules
from tests.support.source import ROOT

RULES = rules.rules()
BREAKS = rules.breaks()


def test_every_rule_of_the_domain_is_in_the_table_once() -> None:
    ids = rules.ids_of_the_domain()
    assert len(ids) > 70
    assert not rules.duplicates(ids)
    assert [rule.id for rule in RULES] == ids


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.id))
def test_its_code_and_its_tests_exist_and_the_tests_cite_it(rule: rules.Rule) -> None:
    assert rule.code
    assert rule.tests
    assert [str(place) for place in rule.code if place.source() is None] == []
    for test in rule.tests:
        assert test.path.startswith("tests/")
        assert test.name.startswith("test_")
        cited = test.source()
        assert cited is not None, test
        assert re.search(rf"(?<![\w.]){re.escape(rule.id)}(?![\w.]*\w)", cited), test


def test_there_is_a_way_to_break_each_rule() -> None:
    assert sorted({way.rule for way in BREAKS}) == sorted(rule.id for rule in RULES)


@pytest.mark.parametrize("way", BREAKS, ids=lambda way: str(way.rule))
def test_what_is_to_be_broken_is_still_there(way: rules.Break) -> None:
    text = (ROOT / way.path).read_text(encoding="utf-8")
    assert text.count(way.old) == 1, f"{way.path} has changed: adapt tests/support/breaks.toml"
    assert way.old != way.new
