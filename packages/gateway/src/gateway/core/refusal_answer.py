"""Refusals as PocketBase words them, so that its SDKs understand them."""

from collections.abc import Mapping
from typing import Any

import orjson

from common.core import statuses
from common.core.errors import RateLimited, ServiceError, UpstreamUnavailable
from gateway.core.body_refusals import InvalidFields, TooSlow
from gateway.core.refusals import OtherType, OtherVersion, TooLarge, UnreadableAnswer, WrongChecksum

TUS = {OtherVersion: 412, OtherType: 415, WrongChecksum: 460}
"""As the tus protocol has them."""

STATUS = {**statuses.STATUS, TooLarge: 413, TooSlow: 408, UnreadableAnswer: 502, **TUS}
RETRY_SECONDS = 1


def status_of(error: ServiceError) -> int:
    return statuses.status_of(error, STATUS)


def shape(status: int, message: str, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"data": dict(data or {}), "message": message, "status": status}


def body_of(error: ServiceError) -> bytes:
    return orjson.dumps(shape(status_of(error), str(error), data_of(error)))


def data_of(error: ServiceError) -> Mapping[str, Any]:
    """What was wrong with which field."""
    return error.data if isinstance(error, InvalidFields) else {}


def headers_of(error: ServiceError, body: bytes) -> list[tuple[bytes, bytes]]:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    match error:
        case RateLimited(retry_seconds=seconds):
            headers.append((b"retry-after", str(seconds).encode()))
        case UpstreamUnavailable():
            headers.append((b"retry-after", str(RETRY_SECONDS).encode()))
        case TooLarge() | TooSlow():
            headers.append((b"connection", b"close"))  # the rest of the body is not worth reading
        case _:
            pass
    return headers
