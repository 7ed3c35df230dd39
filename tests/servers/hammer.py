"""One process of several that use up one limit as fast as they can: `... hammer URL KEY SECONDS RULE`.

Prints, as JSON, how often it asked and when something passed, in microseconds: by the counters' clock, or, where they
did not have to be asked, by that of this machine, which is the same in tests.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence

from common.adapters.valkey_connections import open_valkey
from common.adapters.valkey_rate_limit import ValkeyCounters
from common.core.rate_limit import Answer, Ask
from common.limiter import By, Counters, RateLimiter, Rules, open_limiter

CALLERS = 8


class Noting:
    """Counters that note when they let something pass."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self.passed_us: list[int] = []

    async def decide(self, asks: Sequence[Ask]) -> Sequence[Answer]:
        answers = await self._counters.decide(asks)
        for ask, answer in zip(asks, answers, strict=True):
            if answer.outcome == "allowed":
                self.passed_us += [answer.now_us] * ask.cost
        return answers


async def hammer(limiter: RateLimiter, by: By, until: float, passed_us: list[int]) -> int:
    asked = 0
    while time.monotonic() < until:
        decision = limiter.try_check("hammered", by)
        if decision is None:
            await limiter.check("hammered", by)
        elif decision.allowed:
            passed_us.append(time.time_ns() // 1_000)
        asked += 1
        await asyncio.sleep(0.001 if asked % 10 == 0 else 0)
    return asked


async def main(url: str, key: str, seconds: str, settings: str) -> None:
    rules = Rules.parse({"hammered": json.loads(settings)})
    async with open_valkey(url) as valkey:
        counters = Noting(ValkeyCounters(valkey, prefix="hammer:"))
        async with open_limiter(rules, counters, deadline_seconds=5) as limiter:
            until = time.monotonic() + float(seconds)
            async with asyncio.TaskGroup() as group:
                by, passed_us = By(principal=key), counters.passed_us
                callers = [group.create_task(hammer(limiter, by, until, passed_us)) for _ in range(CALLERS)]
    asked = sum(caller.result() for caller in callers)
    sys.stdout.write(json.dumps({"asked": asked, "passed_us": counters.passed_us}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
