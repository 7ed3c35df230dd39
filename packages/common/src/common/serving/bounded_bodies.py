"""A bound on the bodies of a routed application, as plain ASGI middleware: the framework reads a body whole, and before
it looks at who sends it."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BoundedBodies:
    """Who sends more than `max_bytes` where a body is read is answered 413; the server drops the rest as it comes."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_declared_too_large, received = declared_bytes(scope) > self._max_bytes, 0

        async def bounded() -> Message:
            nonlocal received
            if is_declared_too_large:
                raise too_large()
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise too_large()
            return message

        await self._app(scope, bounded, send)


def declared_bytes(scope: Scope) -> int:
    """The server has checked that it is a number."""
    return next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)


def too_large() -> HTTPException:
    return HTTPException(413, "The body is too large.")
