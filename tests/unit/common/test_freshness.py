import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.core.errors import InvalidRequest
from common.core.freshness import HALF_WAY, Policy, dynamic_ttl_seconds, lifetime_seconds, serves_on_error

seconds = st.floats(0, 1e6)


def dynamic(least: float = 1, most: float = 100, **terms: float) -> Policy:
    return Policy(ttl_seconds=least, max_ttl_seconds=most, **terms)  # pyright: ignore[reportArgumentType] - numbers only


@given(st.floats(0.001, 1e5), st.floats(0, 1), seconds, seconds, st.floats(0, 1, exclude_max=True))
def test_chance_only_ever_shortens_a_lifetime_and_by_its_share_at_most(
    ttl: float, jitter: float, rate: float, cost: float, chance: float
) -> None:
    policy = Policy(ttl_seconds=ttl, jitter=jitter)
    lived = lifetime_seconds(policy, hits_per_second=rate, load_seconds=cost, chance=chance)
    assert ttl * (1 - jitter) * 0.999999 <= lived <= ttl


@given(seconds, seconds)
def test_a_dynamic_lifetime_stays_within_its_bounds(rate: float, cost: float) -> None:
    assert 1 <= dynamic_ttl_seconds(dynamic(1, 100), rate, cost) <= 100


@given(seconds, seconds, seconds, seconds)
def test_what_is_asked_for_more_often_or_costs_more_lives_no_shorter(
    rate: float, more: float, cost: float, dearer: float
) -> None:
    least = dynamic_ttl_seconds(dynamic(), rate, cost)
    assert least <= dynamic_ttl_seconds(dynamic(), rate + more, cost + dearer)


def test_a_value_that_saves_a_tenth_of_a_loader_gets_the_middle_of_its_range() -> None:
    assert dynamic_ttl_seconds(dynamic(10, 30), 2.0, HALF_WAY / 2) == pytest.approx(20)


def test_nobody_asking_means_the_shortest_lifetime_and_endless_asking_the_longest() -> None:
    assert dynamic_ttl_seconds(dynamic(), 0, 5) == 1
    assert dynamic_ttl_seconds(dynamic(), math.inf, 5) == 100


def test_a_stated_cost_counts_instead_of_the_time_that_the_load_took() -> None:
    policy = Policy(ttl_seconds=1, max_ttl_seconds=3, jitter=0, cost_seconds=HALF_WAY)
    assert lifetime_seconds(policy, hits_per_second=1, load_seconds=0, chance=0) == pytest.approx(2)


@pytest.mark.parametrize(
    ("field", "terms"),
    [
        ("ttl_seconds", {"ttl_seconds": 0}),
        ("ttl_seconds", {"ttl_seconds": -1}),
        ("ttl_seconds", {"ttl_seconds": math.nan}),
        ("ttl_seconds", {"ttl_seconds": math.inf}),
        ("jitter", {"ttl_seconds": 1, "jitter": 1.5}),
        ("max_ttl_seconds", {"ttl_seconds": 5, "max_ttl_seconds": 4}),
        ("load_deadline_seconds", {"ttl_seconds": 5, "load_deadline_seconds": 0}),
        ("stale_if_error_seconds", {"ttl_seconds": 5, "stale_if_error_seconds": -3}),
    ],
)
def test_terms_that_make_no_sense_are_refused_by_name(field: str, terms: dict[str, float]) -> None:
    with pytest.raises(InvalidRequest, match=field):
        Policy(**terms)  # pyright: ignore[reportArgumentType] - numbers only


@pytest.mark.parametrize(
    ("serves", "bumped", "verified", "expected"),
    [
        ("expired", False, True, True),
        ("expired", False, False, False),
        ("expired", True, True, False),
        ("unverified", False, False, True),
        ("unverified", True, False, False),
        ("unverified", True, True, False),
        ("bumped", True, True, True),
        ("bumped", True, False, True),
    ],
)
def test_what_may_stand_in_for_the_origin(serves: str, bumped: bool, verified: bool, expected: bool) -> None:
    policy = Policy(ttl_seconds=1, stale_if_error_seconds=10, stale_if_error_serves=serves)  # pyright: ignore[reportArgumentType]
    assert serves_on_error(policy, overdue_seconds=5, bumped=bumped, verified=verified) is expected


def test_nothing_stands_in_for_longer_than_its_policy_says_or_without_one() -> None:
    policy = Policy(ttl_seconds=1, stale_if_error_seconds=10)
    assert serves_on_error(policy, overdue_seconds=9.9, bumped=False, verified=True)
    assert not serves_on_error(policy, overdue_seconds=10, bumped=False, verified=True)
    assert not serves_on_error(Policy(ttl_seconds=1), overdue_seconds=-1, bumped=False, verified=True)
