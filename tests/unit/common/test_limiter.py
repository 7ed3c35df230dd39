"""The limiter's flow: who waits for whom, what is asked and what is known, and what happens while nobody answers."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from common.core.errors import InvalidRequest, RateLimited, UpstreamUnavailable
from common.core.rate_limit import Answer, Ask
from common.core.rate_limit_books import Ledger
from common.limiter import By, Decision, LimitReached, MemoryCounters, RateLimiter, Rule, Rules, UnknownRule, limiting
from common.limiter import post as posting
from common.serving.rate_limit_metrics import exposed
from tests.eventually import eventually

ANN, BOB = By(principal="ann"), By(principal="bob")


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


class Server:
    """Counters that remember what they were asked, and can be away, broken or slow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._counters = MemoryCounters(clock=clock)
        self.batches: list[Sequence[Ask]] = []
        self.error: Exception | None = None
        self.answers: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0)

    async def decide(self, asks: Sequence[Ask]) -> Sequence[Answer]:
        self.batches.append(asks)
        await self.answers()
        if self.error:
            raise self.error
        return await self._counters.decide(asks)

    @property
    def round_trips(self) -> int:
        return sum(bool(batch) for batch in self.batches)


@asynccontextmanager
async def limiting_by(
    server: Server,
    *rules: Rule,
    clock: Callable[[], float] = time.monotonic,
    deadline_seconds: float = 5,
    nodes: int = 1,
) -> AsyncGenerator[RateLimiter]:
    limiter = RateLimiter(Rules(rules), server, clock=clock, deadline_seconds=deadline_seconds, nodes=nodes)
    try:
        yield limiter
    finally:
        await limiter.close()


async def at_once(times: int, ask: Callable[[], Awaitable[Decision]]) -> list[Decision]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(awaited(ask)) for _ in range(times)]
    return [task.result() for task in tasks]


async def awaited(ask: Callable[[], Awaitable[Decision]]) -> Decision:
    return await ask()


async def test_all_that_ask_in_one_turn_of_the_loop_share_a_round_trip() -> None:
    server = Server()
    async with limiting_by(server, Rule("r", 40)) as limiter:
        decisions = await at_once(64, lambda: limiter.check("r", ANN))
    assert sum(decision.allowed for decision in decisions) == 40
    assert [len(batch) for batch in server.batches] == [64]


async def test_a_round_trip_carries_a_bounded_number() -> None:
    server = Server()
    async with limiting_by(server, Rule("r", 5)) as limiter:
        await at_once(600, lambda: limiter.check("r", ANN))
    assert [len(batch) for batch in server.batches] == [256, 256, 88]


async def test_a_caller_that_gives_up_takes_nobody_with_it() -> None:
    server = Server()
    async with limiting_by(server, Rule("r", 5)) as limiter:
        tasks = [asyncio.create_task(limiter.check("r", ANN)) for _ in range(5)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[3].cancel()
        done = await asyncio.wait(tasks)
    assert [task.cancelled() for task in tasks] == [True, False, False, True, False]
    assert all(task.result().allowed for task in done[0] if not task.cancelled())


async def test_a_refusal_that_stands_is_not_asked_about_again() -> None:
    clock = Clock()
    server = Server(clock)
    async with limiting_by(server, Rule("r", 2, every_ms=1_000), clock=clock) as limiter:
        for _ in range(2):
            await limiter.check("r", ANN)
        refusals = [await limiter.check("r", ANN) for _ in range(50)]
        assert {(refusal.reason, refusal.source) for refusal in refusals} == {("limited", "server")}
        assert server.round_trips == 3
        assert (await limiter.check("r", BOB)).allowed
        clock.seconds += 1.01
        assert (await limiter.check("r", ANN)).allowed


async def test_every_attempt_is_counted_where_too_many_are_penalised() -> None:
    clock = Clock()
    server = Server(clock)
    rule = Rule("r", 1, every_ms=1_000, max_uses=3, penalty_ms=10_000)
    async with limiting_by(server, rule, clock=clock) as limiter:
        reasons = [(await limiter.check("r", ANN)).reason for _ in range(9)]
        assert reasons == ["allowed", "limited", "limited", *["penalised"] * 6]
        assert server.round_trips == 4
        clock.seconds += 9.9
        assert (await limiter.check("r", ANN)).retry_after_seconds == pytest.approx(0.1, abs=1e-3)
        clock.seconds += 0.11
        assert (await limiter.check("r", ANN)).allowed


async def test_leased_uses_need_no_round_trip() -> None:
    clock = Clock()
    server = Server(clock)
    async with limiting_by(server, Rule("r", 100_000, every_ms=1_000), clock=clock) as limiter:
        assert limiter.try_check("r", ANN) is None
        decisions = [await limiter.check("r", ANN) for _ in range(5_000)]
        at_hand = limiter.try_check("r", ANN)
    assert all(decision.allowed for decision in decisions)
    assert server.round_trips < 25
    assert at_hand is not None
    assert at_hand.remaining == pytest.approx(95_000, abs=2_000)


async def test_what_was_leased_and_not_used_is_given_back_at_the_end() -> None:
    server = Server()
    async with limiting_by(server, Rule("r", 1_000)) as limiter:
        await limiter.check("r", ANN)
    last = server.batches[-1][0]
    assert (last.cost, last.settle_unused) == (0, 2)


async def test_what_was_leased_and_not_used_is_given_back_when_the_lease_ends() -> None:
    server = Server()
    async with limiting_by(server, Rule("r", 1_000, every_ms=250)) as limiter:
        await limiter.check("r", ANN)

        async def settled() -> bool:
            return bool(server.batches[-1][0].settle_until_us)

        await eventually(settled)


async def test_new_rules_hold_from_the_next_use_and_uses_so_far_count() -> None:
    server = Server()
    async with limiting_by(server, Rule("r", 10)) as limiter:
        await at_once(5, lambda: limiter.check("r", ANN))
        limiter.use(Rules([Rule("r", 5)]))
        assert (await limiter.check("r", ANN)).reason == "limited"
        limiter.use(Rules([Rule("r", 6)]))
        assert (await limiter.check("r", ANN)).allowed


async def test_a_rule_that_is_off_asks_nobody() -> None:
    server = Server()
    async with limiting_by(server, Rule("r", 0)) as limiter:
        decision = await limiter.check("r", ANN)
        assert decision.allowed
        assert decision.limit == 0
        assert limiter.try_check("r", ANN) == decision
    assert server.batches == []


async def test_names_without_a_rule_share_the_defaults_counter() -> None:
    async with limiting_by(Server(), Rule("default", 1)) as limiter:
        assert (await limiter.check("made-up", ANN)).allowed
        assert not (await limiter.check("made-up-too", ANN)).allowed
        assert set(limiter.tallies()) == {"default"}
    async with limiting_by(Server(), Rule("r", 1)) as limiter:
        with pytest.raises(UnknownRule):
            await limiter.check("made-up", ANN)


async def test_require_raises_what_the_transports_know() -> None:
    async with limiting_by(Server(), Rule("r", 1, every_ms=90_000)) as limiter:
        await limiter.require("r", ANN)
        with pytest.raises(RateLimited) as caught:
            await limiter.require("r", ANN)
        assert caught.value.retry_seconds == 90
        assert isinstance(caught.value, LimitReached)
        assert caught.value.decision.limit == 1


@pytest.mark.parametrize("cost", [0, -1, -(10**12)])
async def test_a_use_costs_something(cost: int) -> None:
    async with limiting_by(Server(), Rule("r", 5)) as limiter:
        with pytest.raises(InvalidRequest, match="cost"):
            await limiter.check("r", ANN, cost=cost)
        with pytest.raises(InvalidRequest, match="cost"):
            limiter.try_check("r", ANN, cost=cost)


async def test_a_use_may_cost_several_and_never_more_than_there_are() -> None:
    async with limiting_by(Server(), Rule("r", 5)) as limiter:
        assert (await limiter.check("r", ANN, cost=4)).remaining == 1
        assert not (await limiter.check("r", ANN, cost=2)).allowed
        assert not (await limiter.check("r", ANN, cost=10**15)).allowed
        assert (await limiter.check("r", ANN)).allowed


async def test_to_peek_is_not_to_use() -> None:
    server = Server()
    rules = (
        Rule("r", 2, every_ms=90_000, max_uses=3),
        Rule("leased", 1_000),
        Rule("off", 0),
        Rule("open", 1, when_away="open"),
    )
    async with limiting_by(server, *rules, deadline_seconds=5) as limiter:
        foreseen = [(await limiter.peek("r", ANN)).allowed for _ in range(5)]
        assert foreseen == [True] * 5
        told: list[tuple[bool, str, int]] = []
        for _ in range(4):
            await limiter.check("r", ANN)
            peeked = await limiter.peek("r", ANN)
            told.append((peeked.allowed, peeked.reason, peeked.remaining))
        assert told == [(True, "allowed", 1), (False, "limited", 0), (False, "limited", 0), (False, "penalised", 0)]
        await limiter.check("leased", ANN)
        assert (await limiter.peek("leased", ANN)).remaining == 999
        assert (await limiter.peek("off", ANN)).allowed
        server.error = OSError()
        assert (await limiter.peek("open", BOB)).reason == "away"
        assert (await limiter.peek("r", BOB)).source == "local"


RULES = (
    Rule("local", 8, when_away="local"),
    Rule("open", 1, when_away="open"),
    Rule("closed", 1, when_away="closed"),
)


async def modes_of(limiter: RateLimiter) -> dict[str, list[tuple[bool, str, str]]]:
    rules = {rule.name: [await limiter.check(rule.name, ANN) for _ in range(4)] for rule in RULES}
    return {name: [(each.allowed, each.reason, each.source) for each in told] for name, told in rules.items()}


STATED = {
    "local": [(True, "allowed", "local")] * 2 + [(False, "limited", "local")] * 2,
    "open": [(True, "away", "local")] * 4,
    "closed": [(False, "away", "local")] * 4,
}


async def hang() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("error", [UpstreamUnavailable("gone"), OSError("gone"), ZeroDivisionError(), None], ids=repr)
async def test_while_the_counters_are_away_each_rule_decides_as_it_says(error: Exception | None) -> None:
    server = Server()
    server.error = error
    if error is None:
        server.answers = hang
    async with limiting_by(server, *RULES, deadline_seconds=0.05, nodes=4) as limiter:
        began = time.monotonic()
        assert await modes_of(limiter) == STATED
        assert limiter.is_away
        assert time.monotonic() - began < 1  # one waited, nobody after it
        server.error, server.answers = None, lambda: asyncio.sleep(0)

        async def is_back() -> bool:
            return not limiter.is_away

        await eventually(is_back)
        assert (await limiter.check("open", BOB)).source == "server"


async def test_all_that_wait_are_told_when_the_counters_go_away() -> None:
    server = Server()
    server.answers = hang
    async with limiting_by(server, *RULES, deadline_seconds=0.1) as limiter:
        decisions = await at_once(3_000, lambda: limiter.check("open", ANN))
    assert {decision.source for decision in decisions} == {"local"}


async def test_no_more_than_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "MAX_WAITING", 10)
    server = Server()
    async with limiting_by(server, *RULES) as limiter:
        decisions = await at_once(30, lambda: limiter.check("open", ANN))
        assert [decision.source for decision in decisions].count("local") == 20
        assert not limiter.is_away


async def test_an_answer_that_came_while_the_loop_was_busy_is_heard() -> None:
    server = Server()
    server.answers = lambda: asyncio.to_thread(lambda: None)
    async with limiting_by(server, Rule("r", 5), deadline_seconds=0.05) as limiter:
        asking = asyncio.create_task(limiter.check("r", ANN))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251 - the loop is to be busy
        assert (await asking).source == "server"


async def test_what_is_known_of_callers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.core.rate_limit_lane.MAX_KNOWN", 20)
    async with limiting_by(Server(), Rule("r", 1_000), Rule("s", 1)) as limiter:
        for number in range(100):
            for rule in ("r", "s", "s"):
                await limiter.check(rule, By(principal=str(number)))
        assert all(len(lane.known) <= 20 for lane in limiter._lanes.values())


def test_a_ledger_is_bounded_and_forgets_whom_it_saw_longest_ago() -> None:
    ledger, terms = Ledger(max_keys=1_000), Rule("r", 1).terms
    for number in range(5_000):
        ledger.decide(Ask(str(number).encode(), terms), number)
        assert len(ledger) <= 1_000
    assert ledger.decide(Ask(b"4999", terms), 5_000).outcome == "limited"
    assert ledger.decide(Ask(b"0", terms), 5_000).outcome == "allowed"


def test_a_ledger_clears_away_what_ran_out() -> None:
    ledger, terms = Ledger(max_keys=1_000), Rule("r", 1, every_ms=1).terms
    for number in range(500):
        ledger.decide(Ask(str(number).encode(), terms), 0)
    for number in range(500):
        ledger.decide(Ask(b"x", terms), 10_000_000 + number)
    assert len(ledger) == 1


async def test_metrics_tell_rules_and_outcomes_and_nobodys_name() -> None:
    registry, server = CollectorRegistry(), Server()
    async with limiting_by(server, Rule("r", 2), Rule("open", 1, when_away="open")) as limiter:
        with exposed(limiter, registry):
            for _ in range(5):
                await limiter.check("r", By(principal="ann", address="192.0.2.7"))
            server.error = OSError()
            await limiter.check("open", ANN)
            text = generate_latest(registry).decode()
    assert 'rate_limit_decisions_total{outcome="allowed",rule="r",source="server"} 2.0' in text
    assert 'rate_limit_decisions_total{outcome="limited",rule="r",source="server"} 3.0' in text
    assert 'rate_limit_decisions_total{outcome="away_allowed",rule="open",source="local"} 1.0' in text
    assert "rate_limit_counters_away 1.0" in text
    assert "ann" not in text
    assert "192.0.2.7" not in text
    assert generate_latest(registry) == b""


async def test_an_open_limiter_is_closed_at_the_end() -> None:
    server = Server()
    async with limiting.open_limiter(Rules([Rule("r", 1_000)]), server) as limiter:
        await limiter.check("r", ANN)
    assert server.batches[-1][0].cost == 0
