"""Counters in memory and on Valkey: one arithmetic. And what only Valkey can get wrong."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from common.adapters.valkey_connections import open_valkey
from common.adapters.valkey_rate_limit import SCRIPT, ValkeyCounters
from common.core.errors import UpstreamUnavailable
from common.core.rate_limit import Ask
from common.core.rate_limit_key import By, limit_key
from common.core.rate_limit_rule import Rule
from common.limiter import MemoryCounters
from tests.contracts import rate_limit_counters as contract
from tests.contracts.rate_limit_counters import REMARKABLE, Bench

PREFIX = "counters:"


def memory_bench() -> Bench:
    clock = {"us": 0}

    async def set_clock(now_us: int) -> None:
        clock["us"] = now_us

    counters = MemoryCounters(max_keys=1_000_000, clock=lambda: clock["us"] / 1e6)
    return Bench(counters, set_clock)


def valkey_bench(client: Redis) -> Bench:
    """The real script, but for its clock, which stands in a key: there is no other way to set it."""
    clock = f"clock:{uuid4().hex}"
    script = SCRIPT.replace("redis.call('TIME')", f"{{ 0, redis.call('GET', '{clock}') }}")
    assert script != SCRIPT
    counters = ValkeyCounters(client, prefix=PREFIX)
    counters._script = script
    counters._digest = hashlib.sha1(script.encode()).hexdigest()

    async def set_clock(now_us: int) -> None:
        await client.set(clock, now_us)

    return Bench(counters, set_clock)


@pytest.fixture(params=["memory", "valkey"])
async def bench(request: pytest.FixtureRequest, valkey_url: str) -> AsyncIterator[Bench]:
    async with open_valkey(valkey_url) as client:
        yield memory_bench() if request.param == "memory" else valkey_bench(client)


@pytest.fixture
async def valkey(valkey_url: str) -> AsyncIterator[Redis]:
    async with open_valkey(valkey_url) as client:
        yield client


async def test_counts_each_key_by_itself(bench: Bench) -> None:
    await contract.counts_each_key_by_itself(bench, uuid4().hex)


async def test_counts_by_several_rules_in_one_batch(bench: Bench) -> None:
    await contract.counts_by_several_rules_in_one_batch(bench, uuid4().hex)


async def test_answers_an_empty_batch(bench: Bench) -> None:
    await contract.answers_an_empty_batch(bench)


@pytest.mark.parametrize("name", REMARKABLE)
async def test_answers_as_the_arithmetic_does_in_a_remarkable_history(bench: Bench, name: str) -> None:
    rule, history = REMARKABLE[name]
    await contract.answers_as_the_arithmetic_does(bench, [rule.terms], history, uuid4().hex)


@pytest.mark.parametrize("kind", ["memory", "valkey"])
def test_answers_as_the_arithmetic_does(kind: str, valkey_url: str) -> None:
    examples = {"memory": 30, "valkey": 120}[kind]
    with asyncio.Runner() as runner:
        client = Redis.from_url(valkey_url)
        bench = memory_bench() if kind == "memory" else valkey_bench(client)

        @settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(st.data())
        def compare(data: st.DataObject) -> None:
            rule, later = data.draw(contract.rules()), data.draw(contract.rules())
            history = data.draw(contract.steps(rule.terms))
            run = contract.answers_as_the_arithmetic_does(bench, [rule.terms, later.terms], history, uuid4().hex)
            runner.run(run)

        compare()
        runner.run(client.aclose())


async def test_keys_expire(valkey: Redis) -> None:
    counters = ValkeyCounters(valkey, prefix=PREFIX)
    key = uuid4().hex.encode()
    await counters.decide([Ask(key, Rule("r", 5, 30_000).terms)])
    assert 29_000 < await valkey.pttl(PREFIX.encode() + key) <= 30_001
    penalty = Rule("r", 1, 1_000, max_uses=1, penalty_ms=60_000).terms
    await counters.decide([Ask(key, penalty)])
    assert 59_000 < await valkey.pttl(PREFIX.encode() + key) <= 60_001


async def test_a_lone_use_takes_little_memory(valkey: Redis) -> None:
    counters = ValkeyCounters(valkey, prefix="rl:")
    key = limit_key("default", By(principal=uuid4().hex[:15]))
    await counters.decide([Ask(key, Rule("default", 100, 60_000).terms)])
    assert 0 < (await valkey.memory_usage(b"rl:" + key) or 0) <= 160


async def test_a_script_that_the_server_forgot_is_sent_again(valkey: Redis) -> None:
    counters = ValkeyCounters(valkey, prefix=PREFIX)
    ask = Ask(uuid4().hex.encode(), Rule("r", 1, 30_000).terms)
    assert (await counters.decide([ask]))[0].outcome == "allowed"
    await valkey.script_flush()
    assert (await counters.decide([ask]))[0].outcome == "limited"


@pytest.mark.parametrize("foreign", [b"", b"7", b"\x01", b"\x01" * 99, b"\x02" * 40, b"a list"], ids=repr)
async def test_a_key_that_holds_something_else_spoils_nothing(valkey: Redis, foreign: bytes) -> None:
    counters = ValkeyCounters(valkey, prefix=PREFIX)
    key, other = uuid4().hex.encode(), uuid4().hex.encode()
    if foreign == b"a list":
        await valkey.rpush((PREFIX.encode() + key).decode(), "x")
    else:
        await valkey.set(PREFIX.encode() + key, foreign)
    terms = Rule("r", 1, 30_000).terms
    answers = await counters.decide([Ask(key, terms), Ask(other, terms), Ask(key, terms)])
    assert [answer.outcome for answer in answers] == ["allowed", "allowed", "limited"]


async def test_services_with_prefixes_of_their_own_do_not_share_limits(valkey: Redis) -> None:
    ask = Ask(uuid4().hex.encode(), Rule("r", 1, 30_000).terms)
    for prefix in ("gateway:", "chathub:"):
        assert (await ValkeyCounters(valkey, prefix=prefix).decide([ask]))[0].outcome == "allowed"


async def test_a_server_that_is_not_there_is_an_upstream_that_is_unavailable() -> None:
    async with open_valkey("redis://127.0.0.1:1/0") as client:
        with pytest.raises(UpstreamUnavailable):
            await ValkeyCounters(client, prefix=PREFIX).decide([Ask(b"k", Rule("r", 1).terms)])
