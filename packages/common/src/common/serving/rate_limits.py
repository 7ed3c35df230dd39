"""Limits on HTTP requests and WebSocket handshakes: for a whole application, or for single routes."""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeAlias

from fastapi import Depends, Response
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.core.rate_limit_decision import Decision, LimitReached
from common.core.rate_limit_key import By, client_network
from common.core.statuses import status_of
from common.limiter import RateLimiter
from common.serving.rate_limit_headers import rate_limit_headers
from common.serving.rate_limit_messages import MessageGuard

LimiterOf: TypeAlias = Callable[[HTTPConnection], RateLimiter]
RuleOf: TypeAlias = Callable[[HTTPConnection], str]
ByOf: TypeAlias = Callable[[HTTPConnection], By]
RawHeaders: TypeAlias = list[tuple[bytes, bytes]]

_STARTS = frozenset(("http.response.start", "websocket.accept"))
POLICY_VIOLATION = 1008


def state_limiter(connection: HTTPConnection) -> RateLimiter:
    """What the application's lifespan yields as `limiter`."""
    return connection.state.limiter


def by_address(connection: HTTPConnection) -> By:
    """The network of whoever is connected. Behind a proxy that is the proxy, and all its users would share a limit:
    there, count by what the proxy says instead."""
    return By(address=client_network(connection.client.host) if connection.client else "")


class RateLimits:
    """Limits a whole application, as plain ASGI middleware: requests and handshakes by `rule`, and what comes over a
    WebSocket by `message_rule`, if one is given.

    Refused requests and handshakes are answered 429, in the shape of every other refusal. An answer that tells about a
    limit of its own is left as it is.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        by: ByOf,
        rule: str | RuleOf = "default",
        message_rule: str | None = None,
        limiter_of: LimiterOf = state_limiter,
    ) -> None:
        self._app = app
        self._rule_of: RuleOf = (lambda _connection: rule) if isinstance(rule, str) else rule
        self._by = by
        self._message_rule = message_rule
        self._limiter_of = limiter_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        limiter, by = self._limiter_of(connection), self._by(connection)
        decision = await limiter.check(self._rule_of(connection), by)
        if not decision.allowed:
            await refuse(scope, receive, send, decision)
            return
        if scope["type"] == "websocket" and self._message_rule is not None:
            receive = MessageGuard(limiter, self._message_rule, by).guarding(receive, send)
        await self._app(scope, receive, telling(send, decision))


def telling(send: Send, decision: Decision) -> Send:
    headers = raw_headers(decision)

    async def send_with_headers(message: Message) -> None:
        if message["type"] in _STARTS:
            own: RawHeaders = list(message.get("headers", ()))
            if not any(name.lower().startswith(b"ratelimit") for name, _ in own):
                message = {**message, "headers": own + headers}
        await send(message)

    return send_with_headers if headers else send


def raw_headers(decision: Decision) -> RawHeaders:
    return [(name.lower().encode(), value.encode()) for name, value in rate_limit_headers(decision).items()]


async def refuse(scope: Scope, receive: Receive, send: Send, decision: Decision) -> None:
    """As common.serving.http_errors answers it; a handshake is closed where the server cannot answer it otherwise."""
    if scope["type"] == "websocket":
        await receive()  # its websocket.connect
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
    error = LimitReached(decision)
    body = {"code": error.code, "message": str(error)}
    await JSONResponse(body, status_of(error), rate_limit_headers(decision))(scope, receive, send)


def limited(
    rule: str,
    by: Callable[..., By | Awaitable[By]],
    *,
    cost: int = 1,
    limiter_of: LimiterOf = state_limiter,
) -> Callable[[HTTPConnection, Response, By], Awaitable[Decision]]:
    """A dependency that counts a use of the route and tells about the limit; raises LimitReached.

    `by` is a dependency itself, so it may build on who the caller is.
    """

    async def use(connection: HTTPConnection, response: Response, counted_by: Annotated[By, Depends(by)]) -> Decision:
        decision = await limiter_of(connection).require(rule, counted_by, cost=cost)
        response.headers.update(rate_limit_headers(decision))
        return decision

    return use
