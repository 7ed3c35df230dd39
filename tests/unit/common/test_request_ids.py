"""A request's id through plain ASGI: taken up or made, bound, answered."""

from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from common.correlation import outgoing
from common.serving.request_ids import RequestIds

START: Message = {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}
BODY: Message = {"type": "http.response.body", "body": b"ok"}


async def said(
    messages: list[Message], *headers: tuple[bytes, bytes], **scope: Any
) -> tuple[list[Message], dict[str, str]]:
    """What a client is sent, and what the application would have called others with."""
    sent: list[Message] = []
    seen: dict[str, str] = {}

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        seen.update(outgoing())
        for message in messages:
            await send(dict(message))

    async def receive() -> Message:
        raise AssertionError("nobody asks")

    async def send(message: Message) -> None:
        sent.append(message)

    await RequestIds(app)({"type": "http", "method": "GET", "headers": list(headers), **scope}, receive, send)
    return sent, seen


async def test_an_id_that_comes_is_bound_and_answered() -> None:
    sent, seen = await said([START, BODY], (b"host", b"x"), (b"x-request-id", b"abc"), (b"x-request-id", b"def"))
    assert sent == [{**START, "headers": [(b"a", b"b"), (b"x-request-id", b"abc")]}, BODY]
    assert seen == {"X-Request-Id": "abc"}
    assert outgoing() == {}


@pytest.mark.parametrize(
    "given", [[], [(b"x-request-id", b"")], [(b"x-request-id", b"a b")], [(b"x-request-id", b"\xff")]]
)
async def test_an_id_is_made_where_none_comes_that_could_be_used(given: list[tuple[bytes, bytes]]) -> None:
    sent, seen = await said([START, BODY], *given)
    assert sent[0]["headers"][-1] == (b"x-request-id", seen["X-Request-Id"].encode())
    assert len(seen["X-Request-Id"]) == 16


@pytest.mark.parametrize("kind", ["websocket.accept", "websocket.http.response.start"])
async def test_a_websocket_has_an_id_too(kind: str) -> None:
    frame = {"type": "websocket.send", "text": "hi"}
    sent, seen = await said([{"type": kind}, frame], type="websocket")
    assert sent == [{"type": kind, "headers": [(b"x-request-id", seen["X-Request-Id"].encode())]}, frame]


async def test_what_is_no_request_passes() -> None:
    sent, seen = await said([{"type": "lifespan.startup.complete"}], type="lifespan")
    assert (sent, seen) == ([{"type": "lifespan.startup.complete"}], {})
