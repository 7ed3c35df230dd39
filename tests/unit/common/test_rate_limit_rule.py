"""Rate limits as they are configured: what they mean, and every way in which they are refused."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.core.rate_limit_rule import InvalidRule, Mode, Rule, Rules, UnknownRule


def test_haptas_settings_are_understood() -> None:
    rules = Rules.parse({"default": {"limit": 10, "every": 1000}, "login": {"limit": 3, "every": 60000, "maxUses": 9}})
    login = rules.named("login")
    assert (login.limit, login.every_ms, login.max_uses) == (3, 60_000, 9)
    assert {rule.name for rule in rules} == {"default", "login"}


def test_a_missing_rule_counts_against_the_default_with_all_others_that_are_missing() -> None:
    rules = Rules.parse({"default": {"limit": 10, "every": 1000}})
    assert rules.named("anything") is rules.named("something else") is rules.named("default")


def test_without_a_default_an_unknown_rule_is_an_error() -> None:
    with pytest.raises(UnknownRule, match="'login'"):
        Rules.parse({}).named("login")


@pytest.mark.parametrize(
    ("configured", "field"),
    [
        (7, "settings"),
        ([], "settings"),
        ({}, "limit"),
        ({"limit": 1}, "every"),
        ({"limit": 0, "maxUses": 5}, "every"),
        ({"limit": "10", "every": 1000}, "limit"),
        ({"limit": True, "every": 1000}, "limit"),
        ({"limit": 1.5, "every": 1000}, "limit"),
        ({"limit": None, "every": 1000}, "limit"),
        ({"limit": -1, "every": 1000}, "limit"),
        ({"limit": 10**10, "every": 1000}, "limit"),
        ({"limit": 1, "every": 0}, "every"),
        ({"limit": 1, "every": 10**12}, "every"),
        ({"limit": 1, "every": 1, "maxUses": "many"}, "maxUses"),
        ({"limit": 1, "every": 1, "maxUses": -5}, "maxUses"),
        ({"limit": 1, "every": 1, "penalty": 0}, "penalty"),
        ({"limit": 1, "every": 1, "whenAway": "ask"}, "whenAway"),
        ({"limit": 1, "every": 1, "whenAway": ["open"]}, "whenAway"),
        ({"limit": 1, "every": 1, "mode": "fast"}, "mode"),
        ({"limit": 5000, "every": 1, "mode": "exact"}, "mode"),
        ({"limit": 1, "every": 1, "max_uses": 5}, "max_uses"),
    ],
    ids=str,
)
def test_a_malformed_setting_is_named(configured: Any, field: str) -> None:
    with pytest.raises(InvalidRule) as caught:
        Rules.parse({"login": configured})
    assert (caught.value.rule, caught.value.field) == ("login", field)
    assert "'login'" in str(caught.value)
    assert field in str(caught.value)


@pytest.mark.parametrize("configured", [None, 7, "default", ["default"]], ids=str)
def test_settings_that_are_no_mapping_are_refused(configured: Any) -> None:
    with pytest.raises(InvalidRule):
        Rules.parse(configured)


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, 'quo"te', "ümlaut"])
def test_a_name_that_could_not_stand_in_a_header_is_refused(name: str) -> None:
    with pytest.raises(InvalidRule, match="name"):
        Rule(name, 1)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
fields = st.sampled_from(["limit", "every", "maxUses", "penalty", "whenAway", "mode", "other"])


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=6), st.dictionaries(fields, json_values, max_size=5) | json_values, max_size=3))
def test_whatever_is_configured_is_understood_or_refused(configured: Any) -> None:
    try:
        Rules.parse(configured)
    except InvalidRule as error:
        assert "Rate limit" in str(error)  # noqa: PT017 - either outcome is right


def test_zero_switches_off() -> None:
    assert Rule("r", 0).is_off
    assert not Rule("r", 0, max_uses=5).is_off
    assert Rules.parse({"r": {"limit": 0}}).named("r").is_off


def test_attempts_alone_may_be_bounded() -> None:
    assert Rule("r", 0, max_uses=5).terms.ceiling == 5
    assert Rule("r", 10, max_uses=5).terms.ceiling == 5


modes: list[Mode] = ["auto", "counted", "leased"]


@settings(deadline=None)
@given(st.integers(1, 10**9), st.integers(1, 10**6), st.sampled_from(modes))
def test_at_most_a_twentieth_more_than_the_limit_can_pass(limit: int, every_ms: int, mode: Mode) -> None:
    terms = Rule("r", limit, every_ms, mode=mode).terms
    assert limit <= terms.capacity <= limit + limit // 20
    assert terms.capacity == limit + terms.run - 1 + 2 * terms.lease_budget


def test_the_mode_follows_the_limit() -> None:
    assert Rule("r", 100).terms.capacity == 100
    assert Rule("r", 101).terms.lease_budget == 0
    assert Rule("r", 101).terms.run == 6
    assert Rule("r", 1_000).terms.lease_budget == 20
    assert Rule("r", 1_000, every_ms=100).terms.lease_budget == 0


@pytest.mark.parametrize(("limit", "nodes", "share"), [(10, 4, 2), (3, 4, 1), (0, 4, 0), (10, 1, 10)])
def test_a_share_is_at_least_one_use(limit: int, nodes: int, share: int) -> None:
    assert Rule("r", limit).share(nodes).limit == share
