"""What every implementation of the limiter's counters does, whatever its clock says.

An implementation comes as a `Bench`: counters, and a hand on the clock that they read.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from hypothesis import strategies as st

from common.core.rate_limit import Answer, Ask, Books, decide
from common.core.rate_limit_rule import Mode, Rule, Terms
from common.limiter import Counters

START_US = 1_800_000_000_000_000

SetClock: TypeAlias = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Bench:
    counters: Counters
    set_clock_us: SetClock


class Drawn(NamedTuple):
    """`rule`: 0, or 1 for the rule as it was configured anew. `settles`: which of the leases granted so far ends."""

    rule: int
    key: str
    cost: int
    want: int
    owner: int
    settles: int


@dataclass(frozen=True, slots=True)
class Step:
    """Time passes, or is set back; then one batch is asked."""

    passes_us: int
    asks: tuple[Drawn, ...]


def rules() -> st.SearchStrategy[Rule]:
    """Windows are long: the server forgets keys by its own clock, not by the one set here."""

    def of(mode: Mode, limits: st.SearchStrategy[int]) -> st.SearchStrategy[Rule]:
        return st.builds(
            Rule,
            st.just("r"),
            limit=limits,
            every_ms=st.sampled_from([20_000, 60_000]),
            max_uses=st.one_of(st.just(0), st.integers(1, 20), st.sampled_from([200, 700])),
            penalty_ms=st.sampled_from([1_000, 30_000]),
            mode=st.just(mode),
        )

    small, large = st.integers(1, 8), st.sampled_from([60, 100, 150, 400])
    return st.one_of(of("exact", small), of("exact", large), of("counted", large), of("leased", large))


def steps(terms: Terms) -> st.SearchStrategy[list[Step]]:
    every_us, lease_us = terms.every_us, terms.lease_us or terms.every_us // 20
    ahead = [0, 1, lease_us - 1, lease_us, lease_us + 1, every_us - 1, every_us, every_us + 1]
    back = [-1, -lease_us // 2, -every_us // 3, -3 * every_us]
    passing = st.one_of(st.integers(0, 3), st.integers(0, every_us // 8), st.sampled_from(ahead + back))
    keys = st.sampled_from("aaab")
    costs = st.one_of(st.just(1), st.integers(0, 3), st.integers(0, max(1, terms.ceiling // 2)))
    wants = st.integers(0, 9) if terms.lease_budget else st.just(0)
    settles = st.integers(0, 4) if terms.lease_budget else st.just(0)
    which = st.sampled_from([0, 0, 0, 0, 1])
    asks = st.lists(st.builds(Drawn, which, keys, costs, wants, st.integers(1, 2), settles), min_size=1, max_size=8)
    return st.lists(st.builds(Step, passing, asks.map(tuple)), min_size=2, max_size=12)


class Model:
    """The arithmetic itself, key by key."""

    def __init__(self) -> None:
        self.books: dict[bytes, Books] = {}

    def decide(self, ask: Ask, now_us: int) -> Answer:
        self.books[ask.key], answer = decide(self.books.get(ask.key, Books()), ask, now_us)
        return answer


async def answers_as_the_arithmetic_does(
    bench: Bench, terms: Sequence[Terms], history: list[Step], prefix: str
) -> None:
    model, now_us = Model(), START_US
    leases: list[tuple[int, Answer]] = []
    for step in history:
        now_us += step.passes_us
        await bench.set_clock_us(now_us)
        asks = [to_ask(terms, prefix, each, leases) for each in step.asks]
        expected = [model.decide(ask, now_us) for ask in asks]
        assert list(await bench.counters.decide(asks)) == expected
        leases += [(ask.owner, answer) for ask, answer in zip(asks, expected, strict=True) if answer.granted]


def to_ask(terms: Sequence[Terms], prefix: str, drawn: Drawn, leases: list[tuple[int, Answer]]) -> Ask:
    settled = leases[-drawn.settles][1] if 0 < drawn.settles <= len(leases) else None
    return Ask(
        f"{prefix}{drawn.key}".encode(),
        terms[drawn.rule],
        drawn.cost,
        drawn.want,
        drawn.owner,
        settled.lease_until_us if settled else 0,
        settled.granted // 2 if settled else 0,
    )


def uses(cost: int, *, key: str = "a", want: int = 0, settles: int = 0) -> Drawn:
    return Drawn(0, key, cost, want, 1, settles)


REMARKABLE: dict[str, tuple[Rule, list[Step]]] = {
    "a lease settled after its end joins a full run that is younger": (
        Rule("r", 100, 20_000, mode="leased"),
        [
            Step(0, (uses(1, want=1),)),
            Step(5_000_000, (uses(2), uses(2))),
            Step(1_000_000, (uses(1, settles=1),)),
            Step(19_500_000, (uses(1),)),
        ],
    ),
    "no lease where books are full": (
        Rule("r", 100, 20_000, mode="leased"),
        [Step(0, (uses(1, want=1), uses(102), uses(1, want=1), uses(1)))],
    ),
    "a refusal of the future comes back alone": (
        Rule("r", 2, 20_000, max_uses=4),
        [
            Step(0, (uses(2),)),
            Step(100, (uses(1),)),
            Step(-50, (uses(1),)),
            Step(20_000_020, (uses(2), uses(1))),
        ],
    ),
    "a use that costs more than there can be": (Rule("r", 3, 20_000), [Step(0, (uses(2), uses(2), uses(9), uses(1)))]),
    "more refusals than are remembered one by one": (
        Rule("r", 1, 20_000, max_uses=300),
        [Step(7, (uses(1),) * 8) for _ in range(45)],
    ),
    "longer than a key may be remembered": (Rule("r", 2, 20_000), [Step(0, (uses(2),)), Step(10**15, (uses(2),))]),
}
"""Histories that chance finds rarely."""


async def counts_each_key_by_itself(bench: Bench, prefix: str) -> None:
    terms = Rule("r", 2, 20_000).terms
    await bench.set_clock_us(START_US)
    asks = [Ask(f"{prefix}{key}".encode(), terms) for key in ("ann", "bob", "ann", "bob", "ann")]
    outcomes = [answer.outcome for answer in await bench.counters.decide(asks)]
    assert outcomes == ["allowed"] * 4 + ["limited"]


async def counts_by_several_rules_in_one_batch(bench: Bench, prefix: str) -> None:
    terms = [Rule("r", limit, 20_000).terms for limit in (1, 3, 2)]
    await bench.set_clock_us(START_US)
    asks = [Ask(f"{prefix}{index}".encode(), each) for index, each in enumerate(terms) for _ in range(4)]
    allowed = [answer.outcome == "allowed" for answer in await bench.counters.decide(asks)]
    assert [sum(allowed[at : at + 4]) for at in (0, 4, 8)] == [1, 3, 2]


async def answers_an_empty_batch(bench: Bench) -> None:
    await bench.set_clock_us(START_US)
    assert list(await bench.counters.decide([])) == []
