"""What crosses the boundary between client and PocketBase, each way."""

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from common.core.errors import InvalidRequest

RawHeaders: TypeAlias = Iterable[tuple[bytes, bytes]]

_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding"
    b" upgrade".split()
)
_CLIENT_ADDRESS = frozenset(
    b"forwarded forwarded-for client-ip true-client-ip remote-addr remote-ip proxy-client-ip wl-proxy-client-ip"
    b" cf-connecting-ip cf-connecting-ipv6 cf-pseudo-ipv4 fastly-client-ip fly-client-ip do-connecting-ip"
    b" ali-cdn-real-ip cdn-src-ip x-appengine-user-ip x-azure-clientip x-azure-socketip x-client-ip"
    b" x-cluster-client-ip x-coming-from x-envoy-external-address x-host x-nf-client-connection-ip"
    b" x-original-forwarded-for x-original-host x-originating-ip x-proxyuser-ip x-real-ip x-remote-addr x-remote-ip"
    b" x-true-client-ip x-vercel-forwarded-for".split()
)
_CLIENT_ADDRESS_PREFIX = b"x-forwarded"
TENANT = "X-Gateway-Tenant"
"""Says to PocketBase's rules, as `@request.headers.x_gateway_tenant`, what the caller's verified tenant is."""

_OURS = frozenset({b"authorization", b"host", b"expect", b"x-client-id", TENANT.lower().encode()})
_SPEAK_FOR_ANOTHER = _HOP_BY_HOP | _CLIENT_ADDRESS | _OURS
_NEVER_THE_CLIENTS = frozenset(re.sub(rb"[^a-z]", b"", name).decode() for name in _SPEAK_FOR_ANOTHER)
_BETWEEN_WORDS = re.compile(rb"[^a-z0-9]+")
_OF_A_BODY = frozenset({b"content-type", b"content-length", b"content-encoding", b"transfer-encoding"})
_CROSS_ORIGIN_PREFIX = b"access-control-"


def outbound(headers: RawHeaders, *, client_address: str, token: str | None, tenant: str = "") -> list[tuple[str, str]]:
    """What PocketBase gets: the client's headers without those that speak for somebody else, then ours."""
    listed = list(headers)
    dropped = named_by_connection(listed)
    if not has_body(listed):
        dropped |= {b"content-length"}
    kept = [
        (name.decode("latin-1"), value.decode("utf-8", "replace"))
        for name, value in listed
        if name not in dropped and not speaks_for_another(name)
    ]
    kept.append(("X-Forwarded-For", client_address))
    if token:
        kept.append(("Authorization", token))
    if tenant:
        kept.append((TENANT, tenant))
    return kept


def without_body(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """Without what a client says of a body, which is written anew."""
    return [(name, value) for name, value in headers if name not in _OF_A_BODY]


def read_here(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """For an answer that is to be read on its way: PocketBase must not pack it."""
    return [*((name, value) for name, value in headers if name != "accept-encoding"), ("Accept-Encoding", "identity")]


def replaced_body(headers: Sequence[tuple[bytes, bytes]], body: bytes) -> list[tuple[bytes, bytes]]:
    """The headers of an answer that has another body than PocketBase gave it."""
    kept = [item for item in headers if item[0] != b"content-length"]
    return [*kept, (b"content-length", str(len(body)).encode())] if body else kept


def speaks_for_another(name: bytes) -> bool:
    """PocketBase's rules read `x-real-ip`, `x_real_ip` and `.x.real--ip` as one name, whose value is any of theirs."""
    plain = _BETWEEN_WORDS.sub(b"-", name).strip(b"-")
    return plain in _SPEAK_FOR_ANOTHER or plain.startswith(_CLIENT_ADDRESS_PREFIX)


def says_the_tenant(name: bytes) -> bool:
    """In whatever spelling: only the gateway itself may say it."""
    return _BETWEEN_WORDS.sub(b"-", name.lower()).strip(b"-") == TENANT.lower().encode()


def is_the_clients(name: str) -> bool:
    """May a client say this where PocketBase takes it for a header? Its rules read many spellings as one."""
    plain = re.sub(r"[^a-z]", "", name.lower())
    return name.isascii() and plain not in _NEVER_THE_CLIENTS and not plain.startswith(("xforwarded", "forwarded"))


def inbound(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """What the client gets of PocketBase's headers; the cross-origin ones are the gateway's to say."""
    lowered = [(name.lower(), value) for name, value in headers]
    dropped = _HOP_BY_HOP | named_by_connection(lowered) | {b"date", b"server"}
    return [
        (name, value) for name, value in lowered if name not in dropped and not name.startswith(_CROSS_ORIGIN_PREFIX)
    ]


def unshared(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer that no cache on the way may give to others (RFC 9111 §5.2.2.7)."""
    return [(name, b"private, " + value if name == b"cache-control" else value) for name, value in headers]


def named_by_connection(headers: RawHeaders) -> frozenset[bytes]:
    return frozenset(
        token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")
    )


def first(headers: RawHeaders, name: bytes) -> str | None:
    """The first value, as PocketBase reads it."""
    return next((value.decode("latin-1") for key, value in headers if key == name), None)


def bearer_token(headers: RawHeaders) -> str | None:
    """The scheme is optional and its case is free, as in PocketBase."""
    value = (first(headers, b"authorization") or "").strip()
    if value[:7].lower() == "bearer ":
        value = value[7:].strip()
    return value or None


def declared_length(headers: RawHeaders) -> int | None:
    """Raises InvalidRequest unless Content-Length, where present, is one plain number and the only word on it."""
    listed = list(headers)
    values = {value for name, value in listed if name == b"content-length"}
    if not values:
        return None
    if is_chunked(listed):
        raise InvalidRequest("The request states its length in two ways.")
    text = values.pop()
    if values or not text.isdigit() or len(text) > 15:
        raise InvalidRequest("Content-Length is not one number.")
    return int(text)


def has_body(headers: RawHeaders) -> bool:
    listed = list(headers)
    return bool(declared_length(listed)) or is_chunked(listed)


def is_chunked(headers: RawHeaders) -> bool:
    return any(name == b"transfer-encoding" for name, _ in headers)


def check_host(headers: RawHeaders) -> None:
    """Raises InvalidRequest for a request that names two hosts: proxies before us may have read the other one."""
    if sum(name == b"host" for name, _ in headers) > 1:
        raise InvalidRequest("The request names more than one host.")
