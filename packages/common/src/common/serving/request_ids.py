"""Every request under an id that its log lines, its answer and whom it calls share, as plain ASGI middleware."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.correlation import CARRIED_HEADERS, REQUEST_ID_HEADER, Attribute, describe, incoming, is_tracing
from common.serving.route_template import route_template

_CARRIED = {name.encode(): name for name in CARRIED_HEADERS}
_ANSWERED = REQUEST_ID_HEADER.lower().encode()
_STARTS = frozenset(("http.response.start", "websocket.accept", "websocket.http.response.start"))
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"))


class RequestIds:
    """Takes up `X-Request-Id` or makes one, and answers it; with tracing on, each request is a span."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif is_tracing():
            await self._traced(scope, receive, send)
        else:
            with incoming(carried_headers(scope)) as request_id:
                await self._app(scope, receive, answering(send, request_id.encode()))

    async def _traced(self, scope: Scope, receive: Receive, send: Send) -> None:
        answered: list[int] = []

        async def watching(message: Message) -> None:
            if "status" in message:
                answered.append(message["status"])
            await send(message)

        method = method_of(scope)
        with incoming(carried_headers(scope), name=method) as request_id:
            try:
                await self._app(scope, receive, answering(watching, request_id.encode()))
            finally:
                describe(attributes(scope, method, answered), name=f"{method} {route_template(scope) or ''}".rstrip())


def answering(send: Send, request_id: bytes) -> Send:
    async def send_with_id(message: Message) -> None:
        if message["type"] in _STARTS:
            message["headers"] = [*message.get("headers", ()), (_ANSWERED, request_id)]
        await send(message)

    return send_with_id


def carried_headers(scope: Scope) -> dict[str, str]:
    """What correlation looks at; of two headers of one name, the first."""
    found: dict[str, str] = {}
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    for name, value in headers:
        if name in _CARRIED:
            found.setdefault(_CARRIED[name], value.decode("latin-1"))
    return found


def method_of(scope: Scope) -> str:
    """One of few, as the span's name must be."""
    method = scope.get("method", "WEBSOCKET")
    return method if method in _METHODS or scope["type"] == "websocket" else "_OTHER"


def attributes(scope: Scope, method: str, answered: list[int]) -> dict[str, Attribute]:
    """By OpenTelemetry's conventions for HTTP; never the path or query as such, which may hold secrets."""
    told: dict[str, Attribute] = {"http.request.method": method, "url.scheme": str(scope.get("scheme", ""))}
    if route := route_template(scope):
        told["http.route"] = route
    if answered:
        told["http.response.status_code"] = answered[0]
    return told
