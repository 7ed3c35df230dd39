"""A route's call as its caller's own request: through the front door again, without leaving the process.

Whatever a direct call meets it meets as well: session, rate limits, rules, cache and access log. Only who calls is
settled: whoever was admitted to the route, as long as the session lives. The token he came with may be succeeded
meanwhile, and shown again it would look stolen.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
from starlette.types import ASGIApp, Message, Scope

from common.core.errors import UpstreamUnavailable
from common.core.pocketbase_answers import json_body
from gateway.core.front_door.headers import bearer_token
from gateway.core.refusals import UnreadableAnswer
from gateway.core.route_files.answered import error_of
from gateway.core.route_files.database_call import DatabaseCall
from gateway.core.sessions.principal import Principal

MAX_ANSWER_BYTES = 32 * 1024 * 1024
MAX_CALLS = 16
OVERLONG = "PocketBase's answer is overlong."
UNANSWERED = "The call was not answered."
ADMITTED = "pocketwire.admitted"
"""Where the scope of such a call has its caller, if he is no guest. No client can say it."""

_NOT_HERE = frozenset(
    b"accept accept-encoding authorization connection content-encoding content-length content-type expect keep-alive"
    b" origin range te trailer transfer-encoding upgrade x-forwarded-for".split()
)
"""What describes the outer request alone; PocketBase's rules may read the rest."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """Who was let in, and by which token."""

    principal: Principal
    token: str = field(repr=False)


class Answered:
    """Collects what an ASGI application sends. Raises UnreadableAnswer out of `send` beyond the bound."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Sequence[tuple[bytes, bytes]] = ()
        self.body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], message["headers"]
        else:
            self.body += message.get("body", b"")
        if len(self.body) > MAX_ANSWER_BYTES:
            raise UnreadableAnswer(OVERLONG)


class InsideCalls:
    def __init__(self, app: ASGIApp, scope: Scope, principal: Principal | None, address: str) -> None:
        self._app = app
        self._scope = scope
        self._address = address
        self._room = asyncio.Semaphore(MAX_CALLS)
        token = bearer_token(scope["headers"])
        self._admitted = {ADMITTED: Admitted(principal, token)} if principal and token else {}

    async def call(self, call: DatabaseCall) -> Any:
        """Raises a ServiceError for a refusal."""
        body = None if call.body is None else orjson.dumps(call.body)
        answered = Answered()
        async with self._room:
            await self._app(self._inner(call, body), receiving(body), answered.send)
        if answered.status == 0:
            raise UpstreamUnavailable(UNANSWERED)
        if answered.status >= 300:
            raise error_of(answered.status, bytes(answered.body), dict(answered.headers))
        return json_body(bytes(answered.body))

    def _inner(self, call: DatabaseCall, body: bytes | None) -> Scope:
        path = call.path
        headers = [item for item in cast(list[tuple[bytes, bytes]], self._scope["headers"]) if is_kept(item[0])]
        if body is not None:
            headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        return {
            **self._scope,
            **self._admitted,
            "method": call.method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": call.query_string.encode(),
            "headers": headers,
            "client": (self._address, 0),
        }


def is_kept(name: bytes) -> bool:
    return name not in _NOT_HERE and not name.startswith(b"if-")


def receiving(body: bytes | None) -> Any:
    """An ASGI `receive` of a client that has sent all it has and stays."""
    unread = [body or b""]

    async def receive() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    return receive
