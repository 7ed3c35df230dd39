"""What a route answers."""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import orjson
from pydantic import BaseModel

from gateway.core.front_door.cross_origin import ALLOW_ORIGIN
from gateway.core.route_files.refusals import Misrouted

Body: TypeAlias = bytes | AsyncIterator[bytes | str]

JSON = "application/json"
HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"

CROSS_ORIGIN = (ALLOW_ORIGIN, (b"access-control-allow-headers", b"Content-Type, Authorization"))

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x20-\x7e\x80-\xff\t]*")
_CONNECTION = {"connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"}
_WITHOUT_BODY = frozenset({204, 205, 304})
"""A body there would be read as the beginning of the next answer on the connection."""

_NOT_THE_ROUTES = frozenset({*_CONNECTION, "date", "server"})
_CROSS_ORIGIN_PREFIX = "access-control-"


@dataclass(frozen=True, slots=True)
class Response:
    """A whole body, or one that is made while it is sent. A header that is given as a list is sent once for each."""

    body: Body = b""
    status: int = 200
    content_type: str = ""
    headers: Mapping[str, str | list[str]] = field(default_factory=dict[str, str | list[str]])

    @property
    def is_stream(self) -> bool:
        return not isinstance(self.body, bytes)

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """All that are sent, which admit every origin. Raises Misrouted for what cannot be sent."""
        return [*head_of(self), *CROSS_ORIGIN]

    def json(self) -> Any:
        """The body as read again, for tests of routes."""
        return orjson.loads(cast(bytes, self.body))

    def text(self) -> str:
        return cast(bytes, self.body).decode()


def json_response(value: object, status: int, headers: Mapping[str, str | list[str]] | None) -> Response:
    """Raises TypeError for what JSON cannot carry; pydantic's models it can."""
    return Response(orjson.dumps(value, default=plain), status, JSON, headers or {})


def plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, Mapping):
        return dict(cast(Mapping[Any, Any], value))
    if isinstance(value, set | frozenset):
        return sorted(cast(set[Any], value))
    raise TypeError(f"{type(value).__name__} is no JSON")


def head_of(response: object) -> list[tuple[bytes, bytes]]:
    """The headers to send. Raises Misrouted for anything but a response that can be sent."""
    if not isinstance(response, Response):
        raise Misrouted(f"a route returns ctx.json(...) or its like, not {type(response).__name__}")
    if type(response.status) is not int or not 200 <= response.status <= 599:
        raise Misrouted(f"{response.status!r} is no status")
    listed = [("content-type", response.content_type)] if response.content_type else []
    for name, value in response.headers.items():
        listed += [(name, one) for one in (value if isinstance(value, list) else [value])]
    headers = [encoded(name, value) for name, value in listed]
    if response.status in _WITHOUT_BODY and response.body:
        raise Misrouted(f"an answer of {response.status} has no body")
    if not response.is_stream and response.status not in _WITHOUT_BODY:
        headers.append((b"content-length", str(len(cast(bytes, response.body))).encode()))
    return [*headers, (b"x-content-type-options", b"nosniff")]


def encoded(name: object, value: object) -> tuple[bytes, bytes]:
    """Raises Misrouted for what would say something of the connection or of other origins, or begin another header."""
    if not isinstance(name, str) or not isinstance(value, str):
        raise Misrouted("a header is text")
    lowered = name.lower()
    if not _NAME.fullmatch(name) or lowered in _NOT_THE_ROUTES or lowered.startswith(_CROSS_ORIGIN_PREFIX):
        raise Misrouted(f"{name!r} is not for a route to say")
    if not _VALUE.fullmatch(value):
        raise Misrouted(f"the value of {name!r} cannot be sent")
    return lowered.encode(), value.encode("latin-1")
