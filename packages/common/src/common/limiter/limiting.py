"""Who may go on, and who has had enough for now: answered from what is known here, else by the shared counters, and by
this process alone while those are away."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

from common.core.errors import InvalidRequest
from common.core.rate_limit_decision import Decision, LimitReached, decided, foreseen, while_away
from common.core.rate_limit_key import By
from common.core.rate_limit_lane import Held, Lane, Tally
from common.core.rate_limit_rule import Rules
from common.limiter.counting import Counters, MemoryCounters
from common.limiter.post import Post

DEADLINE_SECONDS = 0.25
EVERYBODY = By()


class Lanes(dict[str, Lane]):
    """The rules at work, by name. Names without a rule of their own find the default's and are not remembered: clients
    may make up any number of them."""

    def __init__(self, rules: Rules, nodes: int, owner: int, tallies: dict[str, Tally]) -> None:
        for rule in rules:
            self[rule.name] = Lane(rule, nodes, owner, tallies.setdefault(rule.name, Tally()))
        self._rules = rules

    def __missing__(self, name: str) -> Lane:
        """Raises UnknownRule."""
        return self[self._rules.named(name).name]


class RateLimiter:
    """Limits by rule and any combination of principal, address, tenant and route. For one event loop.

    What only this process holds (leases, refusals that stand, its own counters while the shared ones are away) is
    bounded. `nodes` is the number of processes that share the limits: each admits its part while it is alone.
    """

    def __init__(
        self,
        rules: Rules,
        counters: Counters,
        *,
        nodes: int = 1,
        deadline_seconds: float = DEADLINE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nodes = nodes
        self._clock = clock
        self._owner = secrets.randbits(48)
        self._post = Post(counters, deadline_seconds, clock, self._learned)
        self._local = MemoryCounters(clock=clock)
        self._sweeps: dict[Lane, asyncio.TimerHandle] = {}
        self._tallies: dict[str, Tally] = {}
        self._lanes = Lanes(rules, nodes, self._owner, self._tallies)

    @property
    def is_away(self) -> bool:
        """Whether the shared counters do not answer, and the rules' own modes apply."""
        return self._post.is_away

    async def check(self, rule: str, by: By = EVERYBODY, *, cost: int = 1) -> Decision:
        """Count `cost` uses, all or none. Raises UnknownRule, and InvalidRequest for a cost below 1."""
        if cost < 1:
            raise InvalidRequest("The cost of a use must be at least 1.")
        lane = self._lanes[rule]
        known = lane.known.get(by)
        if known is not None:
            decision = known.take(cost, self._clock())
            if decision is not None:
                return decision
        decision = self._without_asking(lane, by, cost)
        if decision is not None:
            return decision
        answer = await self._post.submit(lane, by, lane.ask(by, cost))
        if answer is None:
            return self._alone(lane, by, cost)
        return lane.told(decided(lane.rule, answer, "server"))

    def try_check(self, rule: str, by: By = EVERYBODY, *, cost: int = 1) -> Decision | None:
        """The same at once; None, and nothing is counted, where the shared counters have to be asked."""
        if cost < 1:
            raise InvalidRequest("The cost of a use must be at least 1.")
        lane = self._lanes[rule]
        known = lane.known.get(by)
        if known is not None:
            decision = known.take(cost, self._clock())
            if decision is not None:
                return decision
        return self._without_asking(lane, by, cost)

    async def require(self, rule: str, by: By = EVERYBODY, *, cost: int = 1) -> Decision:
        """The same for who goes on or fails. Raises LimitReached, which is a RateLimited, and UnknownRule."""
        decision = await self.check(rule, by, cost=cost)
        if not decision.allowed:
            raise LimitReached(decision)
        return decision

    async def peek(self, rule: str, by: By = EVERYBODY) -> Decision:
        """Whether a use would pass, without counting one. Raises UnknownRule."""
        lane = self._lanes[rule]
        if lane.off is not None:
            return lane.off
        known = lane.known.get(by)
        answer = None if self._post.is_away else await self._post.submit(lane, by, lane.peek(by))
        if answer is None:
            return self._peek_alone(lane, by)
        return foreseen(lane.rule, answer, "server", held=known.left if isinstance(known, Held) else 0)

    def use(self, rules: Rules) -> None:
        """From now on these rules. Uses counted so far still count."""
        self._return_leases()
        self._lanes = Lanes(rules, self._nodes, self._owner, self._tallies)

    def tallies(self) -> Mapping[str, Tally]:
        """How often each rule came to which decision, since this limiter exists."""
        return self._tallies

    async def close(self) -> None:
        """Give back what is held and end; the limiter must not be used any more."""
        for _ in range(2):  # what was under way the first time may have brought leases
            self._return_leases()
            await self._post.close()
        self._return_leases()

    def _without_asking(self, lane: Lane, by: By, cost: int) -> Decision | None:
        if lane.off is not None:
            return lane.told(lane.off)
        if not self._post.is_away:
            return None
        return self._alone(lane, by, cost)

    def _alone(self, lane: Lane, by: By, cost: int) -> Decision:
        if lane.rule.when_away != "local":
            return lane.told(while_away(lane.rule))
        answer = self._local.decide_now(lane.local_ask(by, cost))
        return lane.told(decided(lane.share, answer, "local"))

    def _peek_alone(self, lane: Lane, by: By) -> Decision:
        if lane.rule.when_away != "local":
            return while_away(lane.rule)
        return foreseen(lane.share, self._local.decide_now(lane.local_ask(by, 0)), "local")

    def _learned(self, lane: Lane) -> None:
        if (by := lane.overfull()) is not None:
            self._give_back(lane, by)
        self._sweep_later(lane)

    def _sweep_later(self, lane: Lane) -> None:
        if lane.known and lane not in self._sweeps:
            loop = asyncio.get_running_loop()
            self._sweeps[lane] = loop.call_later(lane.sweep_seconds, self._sweep, lane)

    def _sweep(self, lane: Lane) -> None:
        """Leases nobody used up are of use to other processes."""
        del self._sweeps[lane]
        for by in lane.expired(self._clock()):
            self._give_back(lane, by)
        self._sweep_later(lane)

    def _give_back(self, lane: Lane, by: By) -> None:
        settling = lane.give_back(by)
        if settling is not None:
            self._post.submit(lane, by, settling)

    def _return_leases(self) -> None:
        for timer in self._sweeps.values():
            timer.cancel()
        self._sweeps.clear()
        for lane in self._lanes.values():
            for by in tuple(lane.known):
                self._give_back(lane, by)


@asynccontextmanager
async def open_limiter(
    rules: Rules, counters: Counters, *, nodes: int = 1, deadline_seconds: float = DEADLINE_SECONDS
) -> AsyncGenerator[RateLimiter]:
    limiter = RateLimiter(rules, counters, nodes=nodes, deadline_seconds=deadline_seconds)
    try:
        yield limiter
    finally:
        await limiter.close()
