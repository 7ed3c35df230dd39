"""Refusals as PocketBase words them, so that its SDKs understand them."""

from typing import Any

import orjson

from common.core.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    ServiceError,
    Unauthenticated,
    UpstreamUnavailable,
)
from gateway.core.refusals import TooLarge, UnreadableAnswer

STATUS: dict[type[ServiceError], int] = {
    InvalidRequest: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    RateLimited: 429,
    UnreadableAnswer: 502,
    UpstreamUnavailable: 503,
}
RETRY_SECONDS = 1


def status_of(error: ServiceError) -> int:
    """Nearest listed ancestor, so a new subclass needs no new row."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def shape(status: int, message: str) -> dict[str, Any]:
    return {"data": {}, "message": message, "status": status}


def body_of(status: int, message: str) -> bytes:
    return orjson.dumps(shape(status, message))


def headers_of(error: ServiceError, body: bytes) -> list[tuple[bytes, bytes]]:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    match error:
        case RateLimited(retry_seconds=seconds):
            headers.append((b"retry-after", str(seconds).encode()))
        case UpstreamUnavailable():
            headers.append((b"retry-after", str(RETRY_SECONDS).encode()))
        case TooLarge():
            headers.append((b"connection", b"close"))  # the rest of the body is not worth reading
        case _:
            pass
    return headers
