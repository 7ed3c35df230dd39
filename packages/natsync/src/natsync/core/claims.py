"""NATS JWTs (version 2), written and read.

Sources: nats-io/jwt v2 (`claims.go`, `header.go`, `account_claims.go`, `user_claims.go`). A limit that is left out
means 0 to the server, hence disabled: every limit is written.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from natsync.core.keys import KeyKind, KeyPair, verifies

Body: TypeAlias = dict[str, Any]

UNLIMITED = -1
_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}


class BadToken(ValueError):
    """Not a NATS JWT, or not one that may be believed."""


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """What all users of an account share; -1 is unlimited, 0 disabled."""

    connections: int = UNLIMITED
    subscriptions: int = UNLIMITED
    data: int = UNLIMITED
    payload: int = UNLIMITED
    disk_storage: int = 0
    memory_storage: int = 0


@dataclass(frozen=True, slots=True)
class UserLimits:
    """What one connection may use; -1 is unlimited, 0 disabled."""

    subscriptions: int = UNLIMITED
    data: int = UNLIMITED
    payload: int = UNLIMITED


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects a user may publish and subscribe to; `replies` is how often it may answer one request."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    replies: int = 0
    reply_seconds: int = 0


def operator_body(*, signing_keys: Iterable[str], system_account: str) -> Body:
    return {"signing_keys": list(signing_keys), "system_account": system_account, "type": "operator", "version": 2}


def account_body(*, signing_keys: Iterable[str], limits: AccountLimits, revocations: Mapping[str, int]) -> Body:
    return {
        "limits": {
            "subs": limits.subscriptions,
            "data": limits.data,
            "payload": limits.payload,
            "conn": limits.connections,
            "leaf": UNLIMITED,
            "imports": UNLIMITED,
            "exports": UNLIMITED,
            "wildcards": True,
            "mem_storage": limits.memory_storage,
            "disk_storage": limits.disk_storage,
            "streams": UNLIMITED,
            "consumer": UNLIMITED,
            "max_ack_pending": UNLIMITED,
            "mem_max_stream_bytes": UNLIMITED,
            "disk_max_stream_bytes": UNLIMITED,
        },
        "signing_keys": list(signing_keys),
        **({"revocations": dict(sorted(revocations.items()))} if revocations else {}),
        "default_permissions": {"pub": {}, "sub": {}},
        "authorization": {},
        "type": "account",
        "version": 2,
    }


def user_body(*, account: str, permissions: Permissions, limits: UserLimits) -> Body:
    """For a user whose token is signed by a signing key of `account`."""
    replies: Body = {}
    if permissions.replies:
        replies = {"resp": {"max": permissions.replies, "ttl": permissions.reply_seconds * 1_000_000_000}}
    return {
        "pub": {"allow": list(permissions.publish)},
        "sub": {"allow": list(permissions.subscribe)},
        **replies,
        "subs": limits.subscriptions,
        "data": limits.data,
        "payload": limits.payload,
        "issuer_account": account,
        "type": "user",
        "version": 2,
    }


def deletion_body(accounts: Iterable[str]) -> Body:
    """For a generic token that asks the servers to forget accounts; subject and issuer are the same operator key."""
    return {"accounts": list(accounts), "type": "generic", "version": 2}


def encode(body: Body, *, subject: str, name: str, issuer: KeyPair, issued_at: int) -> str:
    if not may_sign(issuer.kind, str(body["type"])):
        raise BadToken(f"a key of kind {issuer.kind.name} does not sign {body['type']} tokens")
    claims: Body = {"iat": issued_at, "iss": issuer.public_key, "name": name, "sub": subject}
    signed = f"{part(_HEADER)}.{part({**claims, 'jti': token_id(claims), 'nats': body})}"
    return f"{signed}.{base64url(issuer.sign(signed.encode()))}"


def may_sign(issuer: KeyKind, kind: str) -> bool:
    signers = {"operator": KeyKind.OPERATOR, "account": KeyKind.OPERATOR, "user": KeyKind.ACCOUNT}
    return kind == "generic" or signers.get(kind) == issuer


def token_id(claims: Mapping[str, Any]) -> str:
    """The `jti` that the Go library computes: SHA-512/256 over the standard claims alone, as Go spells JSON."""
    order = ("aud", "exp", "iat", "iss", "name", "nbf", "sub")
    standard = {name: claims[name] for name in order if claims.get(name)}
    digest = hashlib.new("sha512_256", go_json(standard)).digest()
    return base64.b32encode(digest).rstrip(b"=").decode()


def go_json(value: Any) -> bytes:
    """Compact JSON with the characters escaped that Go's encoder escapes for HTML's sake."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


def read(token: str) -> Body:
    """The claims of a token whose signature fits the issuer it names. Whether to trust that issuer is asked elsewhere.

    Raises BadToken.
    """
    try:
        header, payload, signature = token.split(".")
        claims = json.loads(unbase64url(payload))
        believable = json.loads(unbase64url(header)) == _HEADER and verifies(
            str(claims["iss"]), f"{header}.{payload}".encode(), unbase64url(signature)
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BadToken("not a NATS JWT") from error
    if not believable:
        raise BadToken("the signature does not fit")
    return claims


def content_hash(*, name: str, issuer: str, body: Body) -> str:
    """Names what a token says, leaving out when it was said."""
    text = json.dumps([name, issuer, body], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def part(value: Any) -> str:
    return base64url(go_json(value))


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unbase64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
