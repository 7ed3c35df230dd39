"""JSON Web Tokens to identities and back. Keys and time are arguments; nothing is fetched here.

`read_token` takes a token apart without believing it, `accept` believes it or says why not. Everything about a token is
refused that is not expected: default is no.

Sources: RFC 7515 (JWS), RFC 7519 (claims), RFC 7638 (key thumbprints), RFC 8725 (best practices), RFC 9068 (access
tokens), OpenID Connect Core 1.0.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import ec

from common.core.errors import Unauthenticated
from common.core.identity import Identity
from common.core.key_sets import ASYMMETRIC, MAX_KEY_ID_LENGTH, VerificationKey, read_key

MAX_TOKEN_BYTES = 8192
MAX_DEPTH = 16
MAX_USERNAME_LENGTH = 256
"""Characters; other issuers set no bound, and every user is told every other's name."""
MAX_LEEWAY_SECONDS = 60
LAST_SECOND = 253_402_300_799
"""The end of the year 9999: no honest time in a token is later."""

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_HEADER_TYPES = frozenset(("jwt", "at+jwt", "application/jwt", "application/at+jwt"))
_ALWAYS_REQUIRED = ("iss", "aud", "exp", "sub")
_NOT_OF_ACCESS_TOKENS = frozenset(("at_hash", "c_hash", "events"))
"""Claims of ID tokens (OpenID Connect Core §3.3.2.11) and of logout tokens (RFC 8417)."""

_POCKETBASE_ERRANDS = frozenset(("file", "verification", "passwordReset", "emailChange"))
"""PocketBase's tokens for a single errand; `auth` is the only `type` that says who is asking."""


class InvalidTerms(ValueError):
    """Terms on which no issuer may be trusted; the message names the field at fault."""


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """Whose tokens are accepted, and on which terms.

    `algorithms` pins what may sign, whatever the token's header says; what is verified with a shared secret cannot be
    on it. `client_ids` is the allow-list for `azp`; empty allows every client. `leeway_seconds`, 0 to 60, is the clock
    skew that is forgiven. `required_claims` must be there beside `iss`, `aud`, `exp` and `sub`, which always must.
    `is_for_sign_in` is for ID tokens in place of access tokens: of an issuer that was itself asked for one, by the
    client that is the `audience`.

    Raises InvalidTerms.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    client_ids: frozenset[str] = frozenset()
    leeway_seconds: int = 5
    required_claims: tuple[str, ...] = ()
    is_for_sign_in: bool = False

    def __post_init__(self) -> None:
        if not self.issuer:
            raise InvalidTerms("issuer: must not be empty")
        if not self.audience:
            raise InvalidTerms("audience: must not be empty")
        if not self.algorithms or not ASYMMETRIC.issuperset(self.algorithms):
            raise InvalidTerms(f"algorithms: must be some of {', '.join(sorted(ASYMMETRIC))}")
        if not 0 <= self.leeway_seconds <= MAX_LEEWAY_SECONDS:
            raise InvalidTerms(f"leeway_seconds: must be 0 to {MAX_LEEWAY_SECONDS}")


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """What a token claims: good for finding a key, for nothing else. `claims` are read-only at every depth."""

    issuer: str
    key_id: str
    algorithm: str
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


class SigningKey:
    """An ES256 key made from a 32-byte private value."""

    def __init__(self, private_value: bytes) -> None:
        number = int.from_bytes(private_value, "big")
        self._key = ec.derive_private_key(number, ec.SECP256R1())
        self.public_jwk = public_jwk(self._key.public_key())
        self.key_id = self.public_jwk["kid"]
        self.verification_key = read_key(self.public_jwk)

    def sign(self, claims: Mapping[str, Any]) -> str:
        return jwt.encode(dict(claims), self._key, algorithm="ES256", headers={"kid": self.key_id})


def public_jwk(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """The RFC 7517 form of a P-256 public key, its `kid` being the RFC 7638 thumbprint."""
    numbers = key.public_numbers()
    jwk = {
        "crv": "P-256",
        "kty": "EC",
        "x": base64url(numbers.x.to_bytes(32, "big")),
        "y": base64url(numbers.y.to_bytes(32, "big")),
    }
    thumbprint = hashlib.sha256(json.dumps(jwk, separators=(",", ":"), sort_keys=True).encode()).digest()
    return {**jwk, "alg": "ES256", "use": "sig", "kid": base64url(thumbprint)}


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def verify(token: str, key: VerificationKey, trusted: TrustedIssuer, now: float) -> Identity:
    """`read_token` and `accept` in one, for those who have the key already. Raises Unauthenticated."""
    return accept(read_token(token), key, trusted, now)


def read_token(token: str) -> UnverifiedToken:
    """Raises Unauthenticated for anything that is not a signed JWT of an access token's type with an issuer and a key.

    Keys and addresses of keys in the header (`jwk`, `jku`, `x5c`, `x5u`) are not looked at.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise Unauthenticated("The token is too long.")
    if (parts := _COMPACT.fullmatch(token)) is None:
        raise Unauthenticated("The token is malformed.")
    header, claims = _object(parts[1], "header"), _object(parts[2], "claims")
    _check_header(header)
    issuer = claims.get("iss")
    if not isinstance(issuer, str):
        raise Unauthenticated("The token names no issuer (iss).")
    signed = token[: parts.end(2)].encode()
    return UnverifiedToken(issuer, header["kid"], header["alg"], claims, signed, _decoded(parts[3]))


def accept(token: UnverifiedToken, key: VerificationKey, trusted: TrustedIssuer, now: float) -> Identity:
    """Turn a token into an identity, trusting only `key` and the terms of `trusted`; `now` is in Unix seconds.

    Raises Unauthenticated, naming the first check that failed.
    """
    if token.algorithm not in trusted.algorithms:
        raise Unauthenticated("The token's algorithm (alg) is not allowed to its issuer.")
    if token.key_id != key.key_id:
        raise Unauthenticated("The token names another key (kid).")
    if not key.verifies(token.algorithm, token.signed, token.signature):
        raise Unauthenticated("The token's signature is not its issuer's.")
    claims = token.claims
    _check_presence(claims, trusted)
    _check_origin(claims, trusted)
    _check_times(claims, trusted.leeway_seconds, now)
    (_check_id_token if trusted.is_for_sign_in else _check_type)(claims)
    return _identity(claims, trusted)


def _object(segment: str, name: str) -> Mapping[str, Any]:
    """One part of a token as JSON: UTF-8, finite, no name twice, no deeper than MAX_DEPTH."""
    try:
        data = _decoded(segment)
        orjson.loads(data)  # stricter than the standard library: no NaN, no lone surrogates, no byte order mark
        value: object = json.loads(data, object_pairs_hook=_without_duplicates)
        if isinstance(value, dict):
            return cast(Mapping[str, Any], _frozen(cast(object, value), MAX_DEPTH))
    except (ValueError, RecursionError) as error:
        raise Unauthenticated(f"The token's {name} cannot be read.") from error
    raise Unauthenticated(f"The token's {name} cannot be read.")


def _decoded(segment: str) -> bytes:
    """Raises Unauthenticated for base64url that nobody would have written: each value has one spelling."""
    try:
        data = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError as error:
        raise Unauthenticated("The token is malformed.") from error
    if base64url(data) != segment:
        raise Unauthenticated("The token is malformed.")
    return data


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two parsers may each take another of two values of one name (RFC 8725 §2.4)."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _frozen(value: object, depth: int) -> object:
    if isinstance(value, dict | list) and not depth:
        raise ValueError("too deep")
    if isinstance(value, dict):
        items = cast(dict[str, object], value).items()
        return MappingProxyType({name: _frozen(item, depth - 1) for name, item in items})
    if isinstance(value, list):
        return tuple(_frozen(item, depth - 1) for item in cast(list[object], value))
    return value


def _check_header(header: Mapping[str, Any]) -> None:
    if "crit" in header:
        raise Unauthenticated("The token demands extensions (crit) that are not known here.")
    if str(header.get("typ", "JWT")).lower() not in _HEADER_TYPES:
        raise Unauthenticated("The token's header says that it is no access token (typ).")
    if not isinstance(header.get("alg"), str):
        raise Unauthenticated("The token names no algorithm (alg).")
    key_id = header.get("kid")
    if not isinstance(key_id, str) or not 0 < len(key_id) <= MAX_KEY_ID_LENGTH:
        raise Unauthenticated("The token names no key (kid).")


def _check_presence(claims: Mapping[str, Any], trusted: TrustedIssuer) -> None:
    for name in (*_ALWAYS_REQUIRED, *trusted.required_claims):
        if claims.get(name) is None:
            raise Unauthenticated(f"The token lacks a claim: {name}.")
    if _text(claims, "sub") is None:
        raise Unauthenticated("The token's subject (sub) is no text.")


def _check_origin(claims: Mapping[str, Any], trusted: TrustedIssuer) -> None:
    if claims["iss"] != trusted.issuer:
        raise Unauthenticated("The token is of another issuer (iss).")
    audience = claims["aud"]
    audiences = cast(tuple[object, ...], audience) if isinstance(audience, tuple) else (audience,)
    if trusted.audience not in audiences or not all(isinstance(name, str) for name in audiences):
        raise Unauthenticated("The token is for another audience (aud).")
    if trusted.client_ids and _client_id(claims) not in trusted.client_ids:
        raise Unauthenticated("The token was issued to a client (azp) that is not allowed here.")


def _check_times(claims: Mapping[str, Any], leeway_seconds: int, now: float) -> None:
    for name in ("exp", "nbf", "iat"):
        value = claims.get(name, 0)
        if type(value) is not int or not 0 <= value <= LAST_SECOND:
            raise Unauthenticated(f"The token's time {name} is no whole number of seconds.")
    if now >= claims["exp"] + leeway_seconds:
        raise Unauthenticated("The token has expired (exp).")
    if now < claims.get("nbf", 0) - leeway_seconds:
        raise Unauthenticated("The token is not valid yet (nbf).")


def _check_type(claims: Mapping[str, Any]) -> None:
    """Keycloak's access tokens say `Bearer`; its others `ID`, `Refresh`, `Offline`, `Logout`, `DPoP` and more."""
    if claims.get("typ", "Bearer") != "Bearer":
        raise Unauthenticated("The token is not an access token (typ).")
    if _NOT_OF_ACCESS_TOKENS & claims.keys() or _text(claims, "type") in _POCKETBASE_ERRANDS:
        raise Unauthenticated("The token is not an access token.")


def _check_id_token(claims: Mapping[str, Any]) -> None:
    """OpenID Connect Core §2 knows no `typ`; Keycloak's ID tokens say `ID`."""
    if claims.get("typ", "ID") != "ID" or "events" in claims:
        raise Unauthenticated("The token is not an ID token (typ).")


def _identity(claims: Mapping[str, Any], trusted: TrustedIssuer) -> Identity:
    subject = claims["sub"]
    return Identity(
        issuer=trusted.issuer,
        subject=subject,
        username=(_text(claims, "preferred_username") or subject)[:MAX_USERNAME_LENGTH],
        client_id=_client_id(claims) or "",
        roles=_realm_roles(claims),
        session_id=_text(claims, "sid"),
        expires_at=claims["exp"],
        claims=claims,
    )


def _client_id(claims: Mapping[str, Any]) -> str | None:
    """OpenID Connect's `azp`, or what RFC 9068 has in its place."""
    return _text(claims, "azp" if "azp" in claims else "client_id")


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    return value if isinstance(value, str) and value else None


def _realm_roles(claims: Mapping[str, Any]) -> frozenset[str]:
    """Keycloak's `realm_access.roles`; anything of another shape grants nothing."""
    access: object = claims.get("realm_access")
    roles = cast(Mapping[str, object], access).get("roles") if isinstance(access, Mapping) else None
    if not isinstance(roles, tuple):
        return frozenset()
    return frozenset(role for role in cast(tuple[object, ...], roles) if isinstance(role, str))
