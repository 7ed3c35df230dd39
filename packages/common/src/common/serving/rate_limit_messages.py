"""Limits on what comes over a WebSocket: too many messages are dropped, and far too many end the connection."""

import json

from starlette.types import Message, Receive, Send

from common.core.rate_limit_decision import Decision, LimitReached
from common.core.rate_limit_key import By
from common.limiter import EVERYBODY, RateLimiter

POLICY_VIOLATION = 1008


class MessageGuard:
    """One connection's messages against one rule.

    A message over the limit is dropped; the first of a row of them is answered with a text frame that `notice` makes.
    A penalised sender is closed with 1008 (RFC 6455 §7.4.1).
    """

    def __init__(self, limiter: RateLimiter, rule: str, by: By = EVERYBODY) -> None:
        self._limiter = limiter
        self._rule = rule
        self._by = by
        self._refusing = False
        self._closed = False

    async def passes(self, send: Send) -> bool:
        """Count one message; False when it is to be dropped. `send` is the connection's, such as `websocket.send`."""
        if self._closed:
            return False
        decision = await self._limiter.check(self._rule, self._by)
        if decision.allowed:
            self._refusing = False
            return True
        if decision.reason == "penalised":
            self._closed = True
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": LimitReached.code})
        elif not self._refusing:
            self._refusing = True
            await send({"type": "websocket.send", "text": notice(decision)})
        return False

    def guarding(self, receive: Receive, send: Send) -> Receive:
        """The same connection without the messages that do not pass."""

        async def receive_passing() -> Message:
            while True:
                message = await receive()
                if message["type"] != "websocket.receive" or await self.passes(send):
                    return message

        return receive_passing


def notice(decision: Decision) -> str:
    """`{"code": "rate_limited", "message": ..., "retry_after_ms": ...}`"""
    error = LimitReached(decision)
    wait_ms = -int(-decision.retry_after_seconds * 1_000 // 1)
    return json.dumps({"code": error.code, "message": str(error), "retry_after_ms": wait_ms})
