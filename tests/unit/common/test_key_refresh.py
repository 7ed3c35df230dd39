"""When an issuer is asked for its keys, as a matter of arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.core.key_refresh import KeyRefresh, RefreshTerms

TERMS = RefreshTerms(
    refresh_seconds=100, ttl_seconds=200, max_stale_seconds=1000, cooldown_seconds=1, max_cooldown_seconds=10
)


def fetched(now: float = 0) -> KeyRefresh:
    refresh = KeyRefresh(TERMS)
    refresh.succeeded(now, has_changed=True)
    return refresh


def test_before_the_first_fetch_one_waits_and_after_its_failure_one_is_told_to_come_again() -> None:
    refresh = KeyRefresh(TERMS)
    assert not refresh.has_keys(0)
    assert refresh.step(is_known=False, now=0) == "wait"
    refresh.failed(0)
    assert refresh.step(is_known=False, now=0.9) == "away"
    assert refresh.step(is_known=False, now=1) == "wait"
    assert refresh.step(is_known=False, now=1, has_waited=True) == "away"
    refresh.failed(1)
    assert refresh.step(is_known=False, now=2.9) == "away"
    assert refresh.step(is_known=False, now=3) == "wait"


def test_fresh_keys_are_used_older_ones_refreshed_beside_and_old_ones_before() -> None:
    refresh = fetched()
    assert refresh.step(is_known=True, now=99) == "use"
    assert refresh.step(is_known=True, now=100) == "use and refresh"
    assert refresh.step(is_known=True, now=200) == "wait"


def test_while_the_issuer_is_away_its_old_keys_serve_at_once_but_not_for_ever() -> None:
    refresh = fetched()
    refresh.failed(200)
    assert refresh.step(is_known=True, now=200.5) == "use"
    assert refresh.step(is_known=True, now=300) == "use and refresh"
    assert refresh.step(is_known=True, now=999) == "use and refresh"
    assert not refresh.has_keys(1000)
    assert refresh.step(is_known=True, now=1000) == "wait"
    refresh.failed(1000)
    assert refresh.step(is_known=True, now=1000.5) == "away"


def test_an_unknown_key_is_asked_for_once_the_cooldown_is_over() -> None:
    refresh = fetched()
    assert refresh.step(is_known=False, now=0.5) == "unknown"
    assert refresh.step(is_known=False, now=1) == "wait"
    refresh.succeeded(1, has_changed=False)
    assert refresh.step(is_known=False, now=2.9) == "unknown"
    assert refresh.step(is_known=False, now=3) == "wait"


def test_while_asking_fails_nobody_is_told_that_a_key_does_not_exist() -> None:
    refresh = fetched()
    refresh.failed(50)
    assert refresh.step(is_known=False, now=50.5) == "away"


def test_a_change_of_keys_ends_the_back_off() -> None:
    refresh = fetched()
    for now in (1, 3, 7, 15):
        refresh.succeeded(now, has_changed=False)
    assert refresh.step(is_known=False, now=24) == "unknown"
    refresh.succeeded(25, has_changed=True)
    assert refresh.step(is_known=False, now=26) == "wait"


@given(st.lists(st.floats(0, 2), min_size=100, max_size=300), st.booleans())
def test_however_often_unknown_keys_are_asked_for_the_issuer_is_asked_seldom(gaps: list[float], works: bool) -> None:
    refresh = KeyRefresh(TERMS)
    now, fetches = 0.0, 0
    for gap in gaps:
        now += gap
        if refresh.step(is_known=False, now=now) == "wait":
            fetches += 1
            if works:
                refresh.succeeded(now, has_changed=fetches == 1)
            else:
                refresh.failed(now)
    assert fetches <= 5 + now / TERMS.max_cooldown_seconds


@given(st.lists(st.tuples(st.floats(0, 50), st.booleans()), max_size=50), st.floats(0, 1000))
def test_a_key_is_never_believed_longer_than_agreed(fetches: list[tuple[float, bool]], later: float) -> None:
    refresh, now, last = KeyRefresh(TERMS), 0.0, float("-inf")
    for gap, works in fetches:
        now += gap
        if works:
            refresh.succeeded(now, has_changed=False)
            last = now
        else:
            refresh.failed(now)
    now += later
    if refresh.step(is_known=True, now=now).startswith("use"):
        assert now - last < TERMS.max_stale_seconds


@pytest.mark.parametrize(
    "terms",
    [
        {"refresh_seconds": 0},
        {"ttl_seconds": 10},
        {"max_stale_seconds": 60},
        {"cooldown_seconds": 0},
        {"max_cooldown_seconds": 0.5},
    ],
    ids=str,
)
def test_terms_that_contradict_each_other_are_refused(terms: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="_seconds"):
        RefreshTerms(**terms)
