"""Limits over HTTP: headers, refusals and who is counted together."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Header, Response
from msgspec import structs
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.core.errors import RateLimited
from common.core.rate_limit_decision import Decision, LimitReached, while_away
from common.limiter import By, MemoryCounters, RateLimiter, Rule, Rules, open_limiter
from common.serving.http_errors import install_error_handler
from common.serving.rate_limit_headers import rate_limit_headers, refusal_headers
from common.serving.rate_limit_messages import MessageGuard
from common.serving.rate_limits import RateLimits, by_address, limited

RULES = Rules(
    [
        Rule("default", 3, every_ms=30_000),
        Rule("create", 1, every_ms=60_000),
        Rule("off", 0),
        Rule("message", 2, every_ms=30_000, max_uses=4),
    ]
)


ALLOWED = Decision(
    allowed=True,
    reason="allowed",
    rule=Rule("login", 10, every_ms=1_500),
    remaining=4,
    reset_seconds=0.2,
    retry_after_seconds=0.0,
    source="server",
)


def decision(**changes: Any) -> Decision:
    return structs.replace(ALLOWED, **changes)


def test_an_answer_tells_what_is_left() -> None:
    assert rate_limit_headers(decision()) == {
        "RateLimit-Limit": "10",
        "RateLimit-Remaining": "4",
        "RateLimit-Reset": "1",
        "RateLimit-Policy": '"login";q=10;w=2',
        "RateLimit": '"login";r=4;t=1',
    }


def test_a_refusal_names_one_moment_to_come_again() -> None:
    refused = decision(allowed=False, reason="limited", remaining=0, reset_seconds=3, retry_after_seconds=7.01)
    headers = rate_limit_headers(refused)
    assert headers["Retry-After"] == headers["RateLimit-Reset"] == "8"
    assert refusal_headers(LimitReached(refused)) == headers


def test_nothing_is_told_that_nobody_counted() -> None:
    assert rate_limit_headers(decision(rule=Rule("off", 0))) == {}
    assert rate_limit_headers(while_away(Rule("r", 1, when_away="open"))) == {}
    assert rate_limit_headers(while_away(Rule("r", 1, when_away="closed"))) == {"Retry-After": "1"}
    assert refusal_headers(RateLimited("Slow down.", retry_seconds=9)) == {"Retry-After": "9"}


@pytest.mark.parametrize(("seconds", "told"), [(0.0, 1), (0.001, 1), (1.0, 1), (1.001, 2), (59.5, 60)])
def test_waits_are_rounded_up(seconds: float, told: int) -> None:
    refused = decision(allowed=False, reason="limited", retry_after_seconds=seconds)
    assert LimitReached(refused).retry_seconds == told


def counted_by(x_user: Annotated[str, Header()] = "nobody") -> By:
    return By(principal=x_user)


def application(limiter: RateLimiter) -> FastAPI:
    app = FastAPI()
    install_error_handler(app)
    app.add_middleware(RateLimits, by=by_address, limiter_of=lambda _: limiter)

    @app.get("/plain")
    async def plain() -> str:
        return "plain"

    @app.post("/create")
    async def create(
        _: Annotated[Decision, Depends(limited("create", counted_by, limiter_of=lambda _: limiter))],
    ) -> str:
        return "created"

    @app.get("/told")
    async def told(response: Response) -> str:
        response.headers["RateLimit-Limit"] = "own"
        return "told"

    return app


@asynccontextmanager
async def serving(app_of: Any = application) -> AsyncGenerator[httpx.AsyncClient]:
    async with open_limiter(RULES, MemoryCounters()) as limiter:
        transport = httpx.ASGITransport(app_of(limiter))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


async def test_requests_over_the_limit_are_answered_429_in_the_shape_of_every_refusal() -> None:
    async with serving() as client:
        answers = [await client.get("/plain") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    refused = answers[-1]
    assert refused.json() == {"code": "rate_limited", "message": "Too many requests; try again in 30 s."}
    assert refused.headers["retry-after"] == refused.headers["ratelimit-reset"] == "30"
    assert "retry-after" not in answers[0].headers


async def test_a_route_may_have_a_limit_of_its_own_by_whom_it_serves() -> None:
    async with serving() as client:
        first = await client.post("/create", headers={"X-User": "ann"})
        other = await client.post("/create", headers={"X-User": "bob"})
        second = await client.post("/create", headers={"X-User": "ann"})
    assert [answer.status_code for answer in (first, other, second)] == [200, 200, 429]
    assert first.headers["ratelimit-policy"] == second.headers["ratelimit-policy"] == '"create";q=1;w=60'
    assert second.json()["code"] == "rate_limited"
    assert second.headers["retry-after"] == "60"


async def test_an_answer_that_tells_of_a_limit_of_its_own_is_left_as_it_is() -> None:
    async with serving() as client:
        assert (await client.get("/told")).headers.get_list("ratelimit-limit") == ["own"]


async def test_a_rule_may_follow_from_the_request_and_be_off() -> None:
    def by_path(limiter: RateLimiter) -> ASGIApp:
        return RateLimits(
            application(limiter),
            by=by_address,
            rule=lambda connection: "off" if connection.url.path == "/plain" else "create",
            limiter_of=lambda _: limiter,
        )

    async with serving(by_path) as client:
        assert "ratelimit-policy" in (await client.get("/plain")).headers  # of the inner one
        assert (await client.get("/told")).status_code == 200
        assert (await client.get("/told")).status_code == 429


class Socket:
    """A WebSocket as the server shows it to an application."""

    def __init__(self, *received: Message) -> None:
        self._received = [{"type": "websocket.connect"}, *received]
        self.sent: list[Message] = []

    def scope(self, **more: Any) -> Scope:
        return {"type": "websocket", "path": "/", "headers": [], "client": ("192.0.2.7", 1), **more}

    async def receive(self) -> Message:
        return self._received.pop(0) if self._received else {"type": "websocket.disconnect", "code": 1000}

    async def send(self, message: Message) -> None:
        self.sent.append(message)


async def echo(_scope: Scope, receive: Receive, send: Send) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


def said(number: int) -> Message:
    return {"type": "websocket.receive", "text": str(number)}


async def test_handshakes_are_limited_too() -> None:
    async with open_limiter(RULES, MemoryCounters()) as limiter:
        app = RateLimits(echo, rule="create", by=by_address, limiter_of=lambda _: limiter)
        sockets = [Socket(), Socket(), Socket()]
        for socket, extensions in zip(sockets, ("", "", "websocket.http.response"), strict=True):
            await app(socket.scope(extensions={extensions: {}}), socket.receive, socket.send)
    accepted, closed, answered = (socket.sent for socket in sockets)
    assert accepted[0]["type"] == "websocket.accept"
    assert (b"ratelimit-limit", b"1") in accepted[0]["headers"]
    assert closed == [{"type": "websocket.close", "code": 1008}]
    assert (answered[0]["type"], answered[0]["status"]) == ("websocket.http.response.start", 429)
    assert b"rate_limited" in answered[1]["body"]


async def test_messages_over_the_limit_are_dropped_and_far_more_of_them_end_the_connection() -> None:
    socket = Socket(*(said(number) for number in range(9)))
    async with open_limiter(RULES, MemoryCounters()) as limiter:
        app = RateLimits(echo, message_rule="message", by=by_address, limiter_of=lambda _: limiter)
        await app(socket.scope(), socket.receive, socket.send)
    kinds = [(message["type"], message.get("text", message.get("code"))) for message in socket.sent[1:]]
    notice = '{"code": "rate_limited", "message": "Too many requests; try again in 30 s.", "retry_after_ms": 30000}'
    assert kinds[:2] == [("websocket.send", "0"), ("websocket.send", "1")]
    assert kinds[2][1][:40] == notice[:40]
    assert kinds[3:] == [("websocket.close", 1008)]


async def test_a_guard_tells_once_that_it_drops() -> None:
    socket = Socket()
    async with open_limiter(Rules([Rule("message", 2, every_ms=30_000)]), MemoryCounters()) as limiter:
        guard = MessageGuard(limiter, "message", By(principal="ann"))
        assert [await guard.passes(socket.send) for _ in range(6)] == [True, True, False, False, False, False]
    assert len(socket.sent) == 1


async def test_what_is_no_request_passes_untouched() -> None:
    seen: list[str] = []

    async def inner(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    await RateLimits(inner, by=by_address)({"type": "lifespan"}, Socket().receive, Socket().send)
    assert seen == ["lifespan"]
