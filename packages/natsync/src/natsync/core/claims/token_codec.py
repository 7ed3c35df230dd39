"""A NATS JWT (version 2) as text: signed, read, and checked.

Sources: nats-io/jwt v2 (`header.go`, `claims.go`, `decoder.go`).
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeAlias, cast

import msgspec

from natsync.core.claims.keys import SERVER_PREFIX, KeyKind, KeyPair, is_public_key, verifies

Body: TypeAlias = dict[str, Any]
"""What a token says beyond the standard claims: its `nats` member."""

Claims: TypeAlias = dict[str, Any]
"""A whole token: the standard claims and `nats`."""

VERSION = 2
MAX_TOKEN_CHARACTERS = 4_000_000
_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}
_GO_ESCAPES = tuple((character.encode(), f"\\u{ord(character):04x}".encode()) for character in "<>&\u2028\u2029")
_SHA512_256 = hashlib.new("sha512_256")
_decode = msgspec.json.Decoder().decode

ISSUERS: Mapping[str, frozenset[int]] = {
    "operator": frozenset({KeyKind.OPERATOR}),
    "account": frozenset({KeyKind.OPERATOR}),
    "user": frozenset({KeyKind.ACCOUNT}),
    "activation": frozenset({KeyKind.ACCOUNT}),
    "authorization_request": frozenset({SERVER_PREFIX}),
    "authorization_response": frozenset({KeyKind.ACCOUNT}),
}
"""Whose keys sign what. Go's library lets an account sign for itself, too; no server under an operator trusts that."""


class BadToken(ValueError):
    """Not a NATS JWT, or not one that may be believed."""


def encode(
    body: Body,
    *,
    subject: str,
    name: str,
    issuer: KeyPair,
    issued_at: int,
    expires_at: int = 0,
    audience: str = "",
) -> str:
    """`issued_at` must be later than in any token said of this subject before: servers order by it, and tell two
    tokens apart by an id that does not depend on the body. Raises BadToken when this kind of key does not sign this.
    """
    if not may_sign(issuer.kind, str(body["type"])):
        raise BadToken(f"a key of kind {issuer.kind.name} does not sign {body['type']} tokens")
    standard = {
        "aud": audience,
        "exp": expires_at,
        "iat": issued_at,
        "iss": issuer.public_key,
        "name": name,
        "sub": subject,
    }
    claims: Claims = {claim: value for claim, value in standard.items() if value}
    signed = f"{_HEADER_PART}.{part({**claims, 'jti': token_id(claims), 'nats': body})}"
    return f"{signed}.{base64url(issuer.sign(signed.encode()))}"


def may_sign(issuer: int, kind: str) -> bool:
    """Anybody signs what is of no kind known here, as in Go's library: a request to delete accounts, for one."""
    return kind not in ISSUERS or issuer in ISSUERS[kind]


def token_id(claims: Mapping[str, Any]) -> str:
    """The `jti` that the Go library computes: SHA-512/256 over the standard claims alone, as Go spells JSON.

    The body is left out as there, although servers take tokens with equal ids for equal when they compare their
    stores. An id that covers the body would tell two tokens of one second apart, but not which is later, and each
    server would keep its own: only an `issued_at` that always increases keeps them agreed, and it makes ids unique.
    """
    order = ("aud", "exp", "iat", "iss", "name", "nbf", "sub")
    standard = {name: claims[name] for name in order if claims.get(name)}
    hashed = _SHA512_256.copy()
    hashed.update(go_json(standard))
    return base64.b32encode(hashed.digest()).rstrip(b"=").decode()


def go_json(value: Any) -> bytes:
    """Compact JSON with the characters escaped that Go's encoder escapes for HTML's sake."""
    text = msgspec.json.encode(value)
    for character, escape in _GO_ESCAPES:
        text = text.replace(character, escape)
    return text


def read(token: str) -> Claims:
    """The claims of a token whose signature fits the issuer it names. Whether to trust that issuer is asked elsewhere.

    Raises BadToken.
    """
    signed, header, payload, signature = taken_apart(token)
    if header != _HEADER:
        raise BadToken("not a NATS JWT of version 2")
    if not verifies(str(payload.get("iss")), signed, signature):
        raise BadToken("the signature does not fit")
    return payload


def read_as(kind: str, token: str, *, now: int | None = None) -> Claims:
    """As `read`, for a token that is also of this kind, signed by a key of the right kind, and in force
    when `now` is given.

    Raises BadToken.
    """
    claims = read(token)
    body = claims.get("nats")
    if not isinstance(body, dict) or cast(Body, body).get("type") != kind:
        raise BadToken(f"not a token of type {kind}")
    if cast(Body, body).get("version") != VERSION:
        raise BadToken("not a token of version 2")
    if not any(is_public_key(claims["iss"], issuer) for issuer in ISSUERS[kind]):
        raise BadToken(f"the issuer's key is not of a kind that signs {kind} tokens")
    if now is not None and not is_in_force(claims, now):
        raise BadToken("expired, or not valid yet")
    return claims


def is_in_force(claims: Mapping[str, Any], now: int) -> bool:
    """A time that is no whole number makes a token invalid."""
    expires_at, not_before = claims.get("exp", 0), claims.get("nbf", 0)
    if type(expires_at) is not int or type(not_before) is not int:
        return False
    return (expires_at == 0 or now <= expires_at) and not_before <= now


def unverified(token: str) -> Claims:
    """For a token of our own keeping, whose signature need not be paid for again. Raises BadToken."""
    return taken_apart(token)[2]


def id_of(token: str) -> str:
    """Its `jti`; empty for what is no token of ours."""
    try:
        return str(unverified(token).get("jti", ""))
    except BadToken:
        return ""


def taken_apart(token: str) -> tuple[bytes, Claims, Claims, bytes]:
    """The signed bytes, header, claims and signature. Raises BadToken."""
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise BadToken("longer than any token")
    try:
        header, payload, signature = token.split(".")
        parts = (_decode(unbase64url(header)), _decode(unbase64url(payload)))
        signed = f"{header}.{payload}".encode("ascii")
        seal = unbase64url(signature)
    except (ValueError, RecursionError) as error:
        raise BadToken("not a NATS JWT") from error
    if not isinstance(parts[0], dict) or not isinstance(parts[1], dict):
        raise BadToken("not a NATS JWT")
    return signed, cast(Claims, parts[0]), cast(Claims, parts[1]), seal


def content_hash(*, name: str, issuer: str, body: Body) -> str:
    """Names what a token says, leaving out when it was said."""
    text = json.dumps([name, issuer, body], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def part(value: Any) -> str:
    """Not as Go spells it: subjects are full of `>`, and a login has room for so many bytes only."""
    return base64url(msgspec.json.encode(value))


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unbase64url(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


_HEADER_PART = part(_HEADER)
