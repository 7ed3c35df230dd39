"""How many messages a user may send on all nodes, public and private together: as PostgreSQL says at the moment. And
how often one may ask over HTTP."""

import math
from dataclasses import dataclass
from typing import Protocol

from chathub.core.bus_messages import Notice
from chathub.search import ADMIN
from common.core.identity import Identity, require_role
from common.core.rate_limit_key import By
from common.core.rate_limit_rule import Rule, Rules
from common.limiter import RateLimiter

RULE = "chat.messages"
REQUESTS = "chat.requests"
MINUTE_MS = 60_000


def rules(requests_per_minute: int, message_limit: int = 10, window_seconds: int = 60) -> Rules:
    """The limit on messages is this one until PostgreSQL has been read for the first time."""
    return Rules([Rule(RULE, message_limit, window_seconds * 1000), Rule(REQUESTS, requests_per_minute, MINUTE_MS)])


@dataclass(frozen=True, slots=True)
class MessageLimit:
    id: int
    owner_id: str
    message_limit: int
    window_seconds: int


@dataclass(frozen=True, slots=True)
class LimitChange:
    id: int
    message_limit: int
    window_seconds: int


class Limits(Protocol):
    async def read(self) -> MessageLimit:
        """Raises UpstreamUnavailable."""
        ...

    async def change(self, actor_id: str, change: LimitChange) -> MessageLimit:
        """Raises NotFound, UpstreamUnavailable."""
        ...


class Notices(Protocol):
    async def tell(self, notice: Notice) -> None: ...


class MessageLimits:
    def __init__(self, limiter: RateLimiter, limits: Limits, notices: Notices, *, requests_per_minute: int) -> None:
        self._limiter = limiter
        self._requests_per_minute = requests_per_minute
        self._limits = limits
        self._notices = notices
        self._known: MessageLimit | None = None

    async def wait_ms(self, user_id: str) -> int:
        decision = await self._limiter.check(RULE, By(principal=user_id))
        return 0 if decision.allowed else max(1, math.ceil(decision.retry_after_seconds * 1000))

    async def require_request(self, user_id: str) -> None:
        """Count one request of the user. Raises RateLimited."""
        await self._limiter.require(REQUESTS, By(principal=user_id))

    async def refresh(self) -> None:
        """Raises UpstreamUnavailable."""
        self._use(await self._limits.read())

    async def read(self, caller: Identity) -> MessageLimit:
        require_role(caller, ADMIN)
        return await self._limits.read()

    async def change(self, caller: Identity, change: LimitChange) -> MessageLimit:
        require_role(caller, ADMIN)
        changed = await self._limits.change(caller.subject, change)
        self._use(changed)
        await self._notices.tell(Notice(about="limits"))
        return changed

    def _use(self, limit: MessageLimit) -> None:
        if limit != self._known:
            self._known = limit
            self._limiter.use(rules(self._requests_per_minute, limit.message_limit, limit.window_seconds))
