"""An answer as it is kept for others: what of PocketBase's it has, and what is said of it besides.

A client may store what it was told of records, but has to ask each time whether it still holds, and as the same caller:
RFC 9111 §5.2.2.4 (no-cache), RFC 9110 §12.5.5 (Vary). Files have PocketBase's own terms.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from common.core.cached import Outcome
from gateway.core.front_door.cross_origin import ALLOW_ORIGIN
from gateway.core.front_door.headers import inbound
from gateway.core.front_door.query import Kind

RawHeader: TypeAlias = tuple[bytes, bytes]
Told: TypeAlias = Literal["HIT", "MISS", "STALE", "BYPASS"]

PRIVATE = (b"cache-control", b"private, no-cache")
_STAYS = frozenset((b"cache-control", b"etag", b"vary", ALLOW_ORIGIN[0]))
_ALSO_OF_A_304 = frozenset((b"x-cache", b"age", b"x-gateway-token", b"access-control-expose-headers"))
_TOLD: dict[Outcome, Told] = {
    "hit": "HIT",
    "negative": "HIT",
    "stale": "STALE",
    "stale_if_error": "STALE",
    "miss": "MISS",
    "bypass": "BYPASS",
}


class KeptAnswer(msgspec.Struct, frozen=True, tag="answer", gc=False):
    """`etag` is empty where there is none of ours."""

    status: int
    headers: tuple[RawHeader, ...]
    body: bytes
    etag: bytes = b""


class KeptMember(msgspec.Struct, frozen=True, tag="member"):
    """A caller's record, as the superuser sees it."""

    record: dict[str, Any]


Kept: TypeAlias = KeptAnswer | KeptMember

OVERLONG = KeptAnswer(0, (), b"")
"""In place of an answer that is too large to be kept, and was not read to its end."""


def told(outcome: Outcome) -> Told:
    return _TOLD[outcome]


def x_cache(text: Told) -> RawHeader:
    return b"x-cache", text.encode()


def is_keepable(status: int, headers: Sequence[RawHeader]) -> bool:
    """Whether others may be given the same: a hook may have said otherwise, or said something to one client alone."""
    if status != 200:
        return False
    for name, value in inbound(headers):
        if name in (b"set-cookie", b"content-range"):
            return False
        if name == b"content-encoding" and value.strip().lower() != b"identity":
            return False
        if name == b"cache-control" and (b"no-store" in value.lower() or b"private" in value.lower()):
            return False
    return True


def answer_of(status: int, headers: Sequence[RawHeader], body: bytes, kind: Kind) -> KeptAnswer:
    """What every caller of the class gets; refusals get no terms of ours."""
    passed = [item for item in inbound(headers) if item[0] != b"content-length"]
    etag = b""
    if kind != "file" and status == 200:
        etag = etag_of(body)
        passed = [item for item in passed if item[0] not in _STAYS]
        passed += [(b"etag", etag), PRIVATE, (b"vary", with_authorization(headers))]
    length = (b"content-length", b"%d" % len(body))
    return KeptAnswer(status, (*passed, length, ALLOW_ORIGIN), body, etag)


def etag_of(body: bytes) -> bytes:
    return b'"%s"' % hashlib.blake2b(body, digest_size=16).hexdigest().encode()


def with_authorization(headers: Iterable[RawHeader]) -> bytes:
    return b", ".join([*(value for name, value in headers if name.lower() == b"vary"), b"Authorization"])


def is_known_to_client(etag: bytes, if_none_match: bytes) -> bool:
    """RFC 9110 §13.1.2: compared weakly, for nothing but the body is spared."""
    if not etag:
        return False
    tags = {tag.strip().removeprefix(b"W/") for tag in if_none_match.split(b",")}
    return etag in tags or b"*" in tags


def not_modified(headers: Iterable[RawHeader]) -> tuple[RawHeader, ...]:
    """The headers of a 304: those that a 200 would have had and a cache goes by (RFC 9110 §15.4.5)."""
    return tuple(item for item in headers if item[0] in _STAYS or item[0] in _ALSO_OF_A_304)
