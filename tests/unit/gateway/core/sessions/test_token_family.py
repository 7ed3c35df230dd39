"""A session's tokens move along one chain, whatever is presented and refreshed in whatever order."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.sessions.token_family import MAX_GRACED, Family, standing, succeeded

GRACE_MS = 10_000


def standing_at(family: Family, generation: int, now_ms: int) -> str:
    return standing(family, generation, now_ms=now_ms, grace_ms=GRACE_MS)


def succeeded_at(family: Family, generation: int, now_ms: int) -> Family:
    return succeeded(family, generation, now_ms=now_ms, grace_ms=GRACE_MS)


def test_a_predecessor_works_for_the_grace_and_is_a_replay_after_it() -> None:
    family = succeeded_at(Family(), 1, now_ms=1000)
    assert family.generation == 2
    assert standing_at(family, 2, 1_000_000) == "current"
    assert standing_at(family, 1, 1000 + GRACE_MS - 1) == "graced"
    assert standing_at(family, 1, 1000 + GRACE_MS) == "replayed"


def test_parallel_refreshes_get_the_same_generation() -> None:
    first = succeeded_at(Family(), 1, now_ms=1000)
    assert succeeded_at(first, 1, now_ms=1001) == first


def test_a_refresh_that_pocketbase_held_up_joins_the_newest_generation() -> None:
    family = Family()
    for now_ms in (0, 20_000, 40_000):
        family = succeeded_at(family, family.generation, now_ms)
    assert succeeded_at(family, 1, now_ms=41_000) == family


def test_each_of_several_quick_refreshes_leaves_its_predecessor_a_grace_of_its_own() -> None:
    family = Family()
    for now_ms in (0, 4000, 8000):
        family = succeeded_at(family, family.generation, now_ms)
    assert [standing_at(family, generation, 9999) for generation in (1, 2, 3, 4)] == ["graced"] * 3 + ["current"]
    assert [standing_at(family, generation, 10_000) for generation in (1, 2, 3)] == ["replayed", "graced", "graced"]


def test_a_storm_of_refreshes_keeps_the_state_small_and_nobody_is_locked_out() -> None:
    family = Family()
    for now_ms in range(100):
        family = succeeded_at(family, family.generation, now_ms)
    assert len(family.superseded_ms) == MAX_GRACED
    assert family.generation == MAX_GRACED + 1
    assert succeeded_at(family, family.generation, GRACE_MS + 100).generation == MAX_GRACED + 2


def test_a_generation_that_the_store_has_lost_is_taken_up_again() -> None:
    assert standing_at(Family(3), 5, 0) == "current"
    ahead = succeeded_at(Family(3, (0,)), 5, 1000)
    assert ahead.generation == 6
    assert standing_at(ahead, 5, 2000) == "graced"
    assert standing_at(ahead, 3, 2000) == "replayed"


@pytest.mark.parametrize("grace_ms", [0, 1, 300_000])
def test_no_grace_is_a_grace_too(grace_ms: int) -> None:
    family = succeeded(Family(), 1, now_ms=0, grace_ms=grace_ms)
    assert standing(family, 1, now_ms=grace_ms, grace_ms=grace_ms) == "replayed"
    assert standing(family, 2, now_ms=grace_ms, grace_ms=grace_ms) == "current"


@given(st.lists(st.integers(0, 30_000), max_size=30))
def test_a_clock_that_is_set_back_shortens_no_grace(times: list[int]) -> None:
    family = Family()
    for now_ms in times:
        family = succeeded_at(family, family.generation, now_ms)
    assert list(family.superseded_ms) == sorted(family.superseded_ms, reverse=True)


@dataclass(slots=True)
class Store:
    """One session in a store: the family, or nothing once it has ended."""

    family: Family | None = field(default_factory=Family)

    def present(self, generation: int, now_ms: int) -> str:
        if self.family is None:
            return "ended"
        told = standing_at(self.family, generation, now_ms)
        if told == "replayed":
            self.family = None
        return told

    def succeed(self, generation: int, now_ms: int) -> int | None:
        if self.family is None:
            return None
        self.family = succeeded_at(self.family, generation, now_ms)
        return self.family.generation


class Clients(RuleBasedStateMachine):
    """Any number of clients, honest or not, that hold every token ever issued and refresh in two steps, at any pace."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 0
        self.store = Store()
        self.issued = [1]
        self.under_way: list[int] = []
        self.superseded_at: dict[int, int] = {}
        self.has_ended = False

    def newest(self) -> int:
        return max(self.issued)

    @rule(milliseconds=st.integers(0, 12_000))
    def time_passes(self, milliseconds: int) -> None:
        self.now_ms += milliseconds

    @rule(choice=st.integers(0, 1_000))
    def a_token_is_presented(self, choice: int) -> None:
        generation = self.issued[choice % len(self.issued)]
        told = self.store.present(generation, self.now_ms)
        if self.has_ended:
            assert told == "ended"
        elif generation == self.newest():
            assert told == "current"
        elif self.now_ms - self.superseded_at[generation] < GRACE_MS:
            assert told == "graced"
        else:
            assert told == "replayed"
            self.has_ended = True
        if told in ("current", "graced"):
            self.under_way.append(generation)

    @precondition(lambda self: self.under_way)
    @rule(choice=st.integers(0, 1_000))
    def a_refresh_ends(self, choice: int) -> None:
        generation = self.under_way.pop(choice % len(self.under_way))
        before = self.newest()
        successor = self.store.succeed(generation, self.now_ms)
        if self.has_ended:
            assert successor is None, "a session that was revoked came back"
            return
        assert successor is not None
        assert before <= successor <= before + 1
        if successor > before:
            self.superseded_at[before] = self.now_ms
        self.issued.append(successor)

    @rule()
    def the_session_is_revoked(self) -> None:
        self.store.family = None
        self.has_ended = True

    @invariant()
    def only_one_generation_lasts(self) -> None:
        if self.store.family is None:
            assert self.has_ended
            return
        later = self.now_ms + GRACE_MS
        living = {each for each in self.issued if standing_at(self.store.family, each, later) != "replayed"}
        assert living == {self.newest()}


TestClients = Clients.TestCase
TestClients.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
