"""The arithmetic: never more than the limit in any window, never a refusal for who keeps to it."""

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.core.rate_limit import Answer, Ask, Books, decide
from common.core.rate_limit_key import By
from common.core.rate_limit_lane import Lane, Tally
from common.core.rate_limit_rule import Mode, Rule, Terms

START_US = 1_800_000_000_000_000
EVERY_US = 1_000_000
ANN = By(principal="ann")


def rule(limit: int, mode: Mode = "auto", *, max_uses: int = 0, penalty_ms: int = 5_000) -> Rule:
    return Rule("r", limit, EVERY_US // 1_000, max_uses, penalty_ms, mode=mode)


class Key:
    """The books of one key, and what passed when."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.books = Books()
        self.now_us = START_US
        self.passed_us: list[int] = []

    def use(self, cost: int = 1) -> Answer:
        self.books, answer = decide(self.books, Ask(b"k", self.terms, cost), self.now_us)
        if answer.outcome == "allowed":
            self.passed_us += [self.now_us] * cost
        return answer


def most_in_a_window(moments_us: list[int]) -> int:
    """In any half-open window of EVERY_US; it suffices to look at those that begin with a use."""
    return max(
        (bisect_left(moments_us, moment + EVERY_US) - at for at, moment in enumerate(moments_us)),
        default=0,
    )


gaps = st.one_of(
    st.just(0),
    st.integers(0, 50),
    st.integers(0, EVERY_US),
    st.sampled_from([EVERY_US - 1, EVERY_US, EVERY_US + 1, EVERY_US // 2]),
)
exact_limits = st.integers(1, 12)


@settings(deadline=None)
@given(exact_limits, st.lists(st.tuples(gaps, st.integers(1, 4)), max_size=80))
def test_exactly_the_limit_passes_in_any_window(limit: int, history: list[tuple[int, int]]) -> None:
    key = Key(rule(limit).terms)
    for gap_us, cost in history:
        key.now_us += gap_us
        key.use(cost)
    assert most_in_a_window(key.passed_us) <= limit


@settings(deadline=None)
@given(exact_limits, st.lists(gaps, max_size=80))
def test_a_use_is_refused_only_when_the_window_is_full(limit: int, history: list[int]) -> None:
    key = Key(rule(limit).terms)
    for gap_us in history:
        key.now_us += gap_us
        in_window = sum(moment > key.now_us - EVERY_US for moment in key.passed_us)
        answer = key.use()
        assert (answer.outcome == "allowed") == (in_window < limit)
        assert answer.remaining == max(0, limit - in_window - 1)


bursts = st.lists(st.tuples(gaps, st.integers(1, 260)), max_size=12)


@settings(max_examples=50, deadline=None)
@given(st.integers(101, 240), bursts)
def test_runs_let_at_most_a_twentieth_more_pass(limit: int, history: list[tuple[int, int]]) -> None:
    key = Key(rule(limit, "counted").terms)
    for gap_us, burst in history:
        key.now_us += gap_us
        for turn in range(burst):
            key.now_us += turn % 3
            key.use()
    assert most_in_a_window(key.passed_us) <= limit + limit // 20
    assert len(key.books.runs) <= 50  # remembered in pieces of a twentieth, not use by use


@settings(max_examples=50, deadline=None)
@given(st.integers(101, 240), bursts)
def test_who_keeps_to_the_limit_is_never_refused_for_the_sake_of_runs(
    limit: int, history: list[tuple[int, int]]
) -> None:
    key = Key(rule(limit, "counted").terms)
    for gap_us, burst in history:
        key.now_us += gap_us
        for turn in range(burst):
            key.now_us += turn % 3
            if len(key.passed_us) - bisect_left(key.passed_us, key.now_us - EVERY_US + 1) < limit:
                assert key.use().outcome == "allowed"


@dataclass
class Cluster:
    """Three processes that share the limit of one key: each may die, and answers to it may get lost."""

    rule: Rule
    now_us: int = START_US
    books: Books = field(default_factory=Books)
    passed_us: list[int] = field(default_factory=list[int])
    tried_us: list[int] = field(default_factory=list[int])
    round_trips: int = 0

    def __post_init__(self) -> None:
        self.lanes = [self.newcomer() for _ in range(3)]

    def newcomer(self) -> Lane:
        return Lane(self.rule, 1, self.round_trips, Tally())

    def use(self, process: int, *, is_answered: bool = True) -> bool | None:
        """Whether it passed; None when the answer got lost."""
        self.tried_us.append(self.now_us)
        lane, now = self.lanes[process], self.now_us / 1e6
        known = lane.known.get(ANN)
        if known is not None and (decision := known.take(1, now)) is not None:
            return self.noted(decision.allowed)
        ask = lane.ask(ANN, 1)
        answer = self.asked(ask)
        assert lane.answered(ANN, ask, answer if is_answered else None, now) is None
        return self.noted(answer.outcome == "allowed") if is_answered else None

    def noted(self, passed: bool) -> bool:
        self.passed_us += [self.now_us] * passed
        return passed

    def asked(self, ask: Ask) -> Answer:
        self.round_trips += 1
        self.books, answer = decide(self.books, ask, self.now_us)
        return answer

    def sweep(self, process: int) -> None:
        lane = self.lanes[process]
        for by in lane.expired(self.now_us / 1e6):
            if settling := lane.give_back(by):
                self.asked(settling)

    def perform(self, act: "Act", tries: int) -> list[bool | None]:
        self.now_us += act.gap_us
        match act.kind:
            case "sweep":
                self.sweep(act.process)
            case "die":
                self.lanes[act.process] = self.newcomer()
            case "lose":
                return [self.use(act.process, is_answered=False)] if tries else []
            case "use":
                return [self.use(act.process) for _ in range(tries)]
        return []


class Act(NamedTuple):
    gap_us: int
    process: int
    kind: Literal["use", "sweep", "die", "lose"]
    uses: int


kinds = st.sampled_from(["use", "use", "use", "use", "sweep", "die", "lose"])
acts = st.lists(st.builds(Act, gaps, st.integers(0, 2), kinds, st.integers(1, 120)), max_size=30)
leased_limits = st.sampled_from([50, 100, 150, 201, 399])


@settings(max_examples=60, deadline=None)
@given(leased_limits, acts)
def test_processes_with_leases_let_at_most_a_twentieth_more_pass(limit: int, history: list[Act]) -> None:
    cluster = Cluster(rule(limit, "leased"))
    for act in history:
        cluster.perform(act, act.uses)
    assert most_in_a_window(cluster.passed_us) <= limit + limit // 20


@settings(max_examples=60, deadline=None)
@given(leased_limits, acts)
def test_who_keeps_to_the_limit_is_never_refused_for_the_sake_of_leases(limit: int, history: list[Act]) -> None:
    """Neither by what others hold, nor by what died with a process or was granted in an answer that got lost."""
    cluster = Cluster(rule(limit, "leased"))
    for act in history:
        window_begins = cluster.now_us + act.gap_us - EVERY_US + 1
        tried = len(cluster.tried_us) - bisect_left(cluster.tried_us, window_begins)
        assert False not in cluster.perform(act, min(act.uses, limit - tried))


def test_the_tolerance_covers_leases_that_died_and_leases_that_were_settled_late() -> None:
    cluster = Cluster(rule(200, "leased"))
    took = [cluster.use(process) for process in (0, 1, 2)]
    cluster.now_us += 190_000
    took += [cluster.use(process) for process in (0, 0, 1, 2)]  # to the end of their leases
    cluster.now_us += 10_000
    took += [cluster.use(process) for process in (0, 1, 2)]  # settled now, and leased anew
    assert sum(lease.uses for lease in cluster.books.leases) == 3
    cluster.now_us += EVERY_US - 5_000
    for process in (0, 1, 2):
        cluster.perform(Act(0, process, "die", 0), 0)
    in_window = 3
    took += [cluster.use(0) for _ in range(200 - in_window)]
    assert took == [True] * 207


def test_what_a_process_did_not_use_others_may() -> None:
    cluster = Cluster(rule(200, "leased"))
    for _ in range(4):
        assert [cluster.use(process) for process in (0, 1, 2)] == [True] * 3
        cluster.now_us += 201_000
        for process in (0, 1, 2):
            cluster.sweep(process)
    assert [cluster.use(0) for _ in range(188)] == [True] * 188


def test_a_leased_use_counts_from_when_it_was_made() -> None:
    cluster = Cluster(rule(200, "leased"))
    for process in (0, 1, 2):
        cluster.use(process)
    cluster.now_us += 190_000
    for process in (0, 0, 1, 2):
        cluster.use(process)
    while cluster.use(0):
        pass
    cluster.now_us += EVERY_US - 190_000
    while cluster.use(0):
        pass
    assert most_in_a_window(cluster.passed_us) <= 210


def test_leases_grow_with_demand_and_spare_most_round_trips() -> None:
    cluster = Cluster(rule(20_000, "leased"))
    for _ in range(5_000):
        cluster.now_us += 10
        assert cluster.use(0)
    assert cluster.round_trips < 50


def test_an_idle_lease_comes_back() -> None:
    cluster = Cluster(rule(1_000, "leased"))
    cluster.use(0)
    assert cluster.books.leases
    cluster.now_us += EVERY_US // 2
    cluster.sweep(0)
    assert not cluster.books.leases
    assert sum(run.uses for run in cluster.books.runs) == 1


def test_processes_share_the_budget_for_leases() -> None:
    cluster = Cluster(rule(1_000, "leased"))
    for process in (0, 1, 2, 0, 1, 2, 0, 1, 2):
        for _ in range(9):
            cluster.use(process)
        assert sum(lease.uses for lease in cluster.books.leases) <= 20
    assert {lease.uses for lease in cluster.books.leases} != {0}
    assert len(cluster.books.leases) == 3


def test_a_refusal_says_when_to_come_again() -> None:
    key = Key(rule(2).terms)
    key.use()
    key.now_us += 300_000
    key.use()
    key.now_us += 100_000
    refusal = key.use()
    assert (refusal.outcome, refusal.retry_us, refusal.reset_us) == ("limited", 600_000, 600_000)
    assert key.use(2).retry_us == 900_000
    assert key.use(3).retry_us == EVERY_US  # it never passes
    key.now_us += 599_999
    assert key.use().outcome == "limited"
    key.now_us += 1
    assert key.use().outcome == "allowed"


def test_attempts_beyond_max_uses_earn_a_penalty() -> None:
    key = Key(rule(3, max_uses=5).terms)
    outcomes = [key.use().outcome for _ in range(7)]
    assert outcomes == ["allowed"] * 3 + ["limited"] * 2 + ["penalised"] * 2
    key.now_us += 4_999_999
    assert key.use().retry_us == 1
    key.now_us += 1
    assert key.use().outcome == "allowed"


def test_attempts_that_left_the_window_are_forgiven() -> None:
    key = Key(rule(1, max_uses=3).terms)
    for _ in range(20):
        assert [key.use().outcome for _ in range(3)] == ["allowed", "limited", "limited"]
        key.now_us += EVERY_US


def test_without_max_uses_nobody_is_penalised() -> None:
    key = Key(rule(1).terms)
    assert {key.use().outcome for _ in range(1_000)} == {"allowed", "limited"}


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 12), st.lists(gaps, max_size=80))
def test_only_more_than_max_uses_attempts_in_a_window_are_penalised(
    limit: int, max_uses: int, history: list[int]
) -> None:
    key, tried_us = Key(rule(limit, max_uses=max_uses).terms), list[int]()
    for gap_us in history:
        key.now_us += gap_us
        was_penalised = key.books.penalised_until_us > key.now_us
        tried_us.append(key.now_us)
        in_window = sum(moment > key.now_us - EVERY_US for moment in tried_us)
        if key.use().outcome == "penalised" and not was_penalised:
            assert in_window > max_uses


@pytest.mark.parametrize("limit", [5, 150])
def test_a_clock_set_back_neither_opens_nor_closes_the_gate(limit: int) -> None:
    key = Key(rule(limit).terms)
    while key.use().outcome == "allowed":
        pass
    key.now_us -= 3_600_000_000
    assert key.use().outcome == "limited"
    key.now_us += EVERY_US - 1
    assert key.use().outcome == "limited"
    key.now_us += 1
    assert key.use().outcome == "allowed"


def test_a_penalty_survives_a_clock_set_back_by_no_more_than_its_time() -> None:
    key = Key(rule(1, max_uses=1, penalty_ms=2_000).terms)
    key.use()
    assert key.use().outcome == "penalised"
    key.now_us -= 3_600_000_000
    assert key.use().retry_us == 2_000_000


def test_a_rule_made_stricter_counts_what_was_used_before() -> None:
    key = Key(rule(10).terms)
    for _ in range(8):
        key.use()
    key.terms = rule(5).terms
    assert key.use().outcome == "limited"


def test_nothing_is_written_down_for_a_mere_refusal() -> None:
    key = Key(rule(1).terms)
    key.use()
    before = key.books
    key.use()
    assert key.books is before
