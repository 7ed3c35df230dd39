"""Decisions a second at 64 concurrent callers: exact beside `limits`' moving window, leased beside exact.

All count on one Valkey. Callers ask one question at a time, each about its own keys in turn, and are always admitted.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TypeAlias

from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter

from bench.metric import Metric, Timed, side_by_side
from common.adapters.valkey_connections import open_valkey
from common.adapters.valkey_rate_limit import ValkeyCounters
from common.core.rate_limit_key import By
from common.core.rate_limit_rule import Rule, Rules
from common.limiter import RateLimiter, open_limiter
from tests.servers.valkey import valkey_server

CALLERS = 64
KEYS_PER_CALLER = 32
LIMIT = 100
EXACT_CHECKS = 400
PEER_CHECKS = 100
LEASED_CHECKS = 16_000
TURNS_ALONE = 250
PATIENCE_SECONDS = 10.0  # what a busy machine delays is to be measured, not decided otherwise
RULES = Rules(
    [
        Rule("exact", LIMIT, every_ms=1_000, mode="exact"),
        Rule("leased", 60_000_000, every_ms=60_000, mode="leased"),
    ]
)

Caller: TypeAlias = Callable[[Sequence[By]], Coroutine[None, None, int]]
"""Asks about its keys in turn, one question at a time; how often it was admitted."""


async def measure() -> list[Metric]:
    with valkey_server() as url:
        async with (
            open_valkey(url) as valkey,
            open_limiter(RULES, ValkeyCounters(valkey, prefix="bench:"), deadline_seconds=PATIENCE_SECONDS) as limiter,
        ):
            exact = decisions_a_second(ours(limiter, "exact", EXACT_CHECKS), EXACT_CHECKS)
            leased = decisions_a_second(ours(limiter, "leased", LEASED_CHECKS), LEASED_CHECKS)
            moving_window = decisions_a_second(peer(url, PEER_CHECKS), PEER_CHECKS)
            versus_limits = await side_by_side(exact, moving_window)
            versus_exact = await side_by_side(leased, exact)
    unit = "decisions/s"
    return [
        Metric("ratelimit_exact_vs_limits", *measured(versus_limits, unit, "limits moving window"), bar=">= 4"),
        Metric("ratelimit_leased_vs_exact", *measured(versus_exact, unit, "exact"), bar=">= 10"),
    ]


def measured(figures: tuple[float, float, float], unit: str, peer: str) -> tuple[float, str, str, float, float]:
    mine, theirs, ratio = figures
    return mine, unit, peer, theirs, ratio


def ours(limiter: RateLimiter, rule: str, checks: int) -> Caller:
    async def call(own: Sequence[By]) -> int:
        admitted = 0
        for turn in range(checks):
            decision = await limiter.check(rule, own[turn % len(own)])
            admitted += decision.allowed and decision.source == "server"
            if turn % TURNS_ALONE == 0:
                await asyncio.sleep(0)  # a service reads its next request now and then
        return admitted

    return call


def peer(url: str, checks: int) -> Caller:
    """`limits` with the same limit, on valkey-py, the faster of its clients."""
    storage = RedisStorage(f"async+{url.replace('redis:', 'valkey:')}", implementation="valkey")
    window = MovingWindowRateLimiter(storage)
    item = RateLimitItemPerSecond(LIMIT)

    async def call(own: Sequence[By]) -> int:
        return sum([await window.hit(item, own[turn % len(own)].principal or "") for turn in range(checks)])

    return call


def decisions_a_second(call: Caller, checks: int) -> Timed:
    """Raises RuntimeError if anybody is refused: a refusal may cost less than a use."""
    keys = [[By(principal=f"user-{caller}-{key}") for key in range(KEYS_PER_CALLER)] for caller in range(CALLERS)]

    async def once() -> float:
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            callers = [group.create_task(call(own)) for own in keys]
        seconds = time.perf_counter() - began
        admitted = sum(caller.result() for caller in callers)
        if admitted != CALLERS * checks:
            raise RuntimeError(f"{CALLERS * checks - admitted} of {CALLERS * checks} uses were refused")
        return CALLERS * checks / seconds

    return once
