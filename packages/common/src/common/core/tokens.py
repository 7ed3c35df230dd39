"""JSON Web Tokens to identities and back. Keys and time are arguments; nothing is fetched here.

Sources: RFC 7515 (JWS), RFC 7519 (claims), RFC 7638 (key thumbprints), OpenID Connect Core 1.0.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from common.core.errors import Unauthenticated
from common.core.identity import Identity

MAX_TOKEN_BYTES = 8192


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """Whose tokens are accepted, and on which terms.

    `algorithms` pins what may sign, whatever the token's header says. `client_ids` is the allow-list for `azp`;
    empty allows every client. `leeway_seconds` bounds the clock skew that is forgiven.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    client_ids: frozenset[str] = frozenset()
    leeway_seconds: int = 5


@dataclass(frozen=True, slots=True)
class TokenHead:
    """What an unverified token claims about its origin: good for finding a key, for nothing else."""

    issuer: str
    key_id: str | None
    algorithm: str


class SigningKey:
    """An ES256 key made from a 32-byte private value."""

    def __init__(self, private_value: bytes) -> None:
        number = int.from_bytes(private_value, "big")
        self._key = ec.derive_private_key(number, ec.SECP256R1())
        self.public_jwk = public_jwk(self._key.public_key())
        self.key_id = self.public_jwk["kid"]

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


def read_head(token: str) -> TokenHead:
    """Raises Unauthenticated for anything that is not shaped like a signed JWT with an issuer."""
    if len(token) > MAX_TOKEN_BYTES:
        raise Unauthenticated("The token is too long.")
    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError as error:
        raise Unauthenticated("The token is malformed.") from error
    issuer, key_id = claims.get("iss"), header.get("kid")
    if not isinstance(issuer, str):
        raise Unauthenticated("The token names no issuer.")
    return TokenHead(issuer, key_id if isinstance(key_id, str) else None, str(header.get("alg")))


def verify(token: str, key: jwt.PyJWK, trusted: TrustedIssuer, now: float) -> Identity:
    """Turn a token into an identity, trusting only `key` and the terms of `trusted`.

    Raises Unauthenticated, naming the first check that failed.
    """
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=list(trusted.algorithms),
            issuer=trusted.issuer,
            audience=trusted.audience,
            options={
                "require": ["iss", "aud", "exp", "sub"],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
    except jwt.PyJWTError as error:
        raise Unauthenticated(f"The token is not acceptable: {error}.") from error
    check_times(claims, trusted.leeway_seconds, now)
    if claims.get("typ", "Bearer") != "Bearer":
        raise Unauthenticated("The token is not an access token.")
    if trusted.client_ids and claims.get("azp") not in trusted.client_ids:
        raise Unauthenticated("The token was issued to a client that is not allowed here.")
    return to_identity(claims)


def check_times(claims: Mapping[str, Any], leeway_seconds: int, now: float) -> None:
    expires_at, not_before = claims["exp"], claims.get("nbf", 0)
    if not isinstance(expires_at, int) or not isinstance(not_before, int):
        raise Unauthenticated("The token's times are not whole numbers.")
    if now >= expires_at + leeway_seconds:
        raise Unauthenticated("The token has expired.")
    if now < not_before - leeway_seconds:
        raise Unauthenticated("The token is not valid yet.")


def to_identity(claims: Mapping[str, Any]) -> Identity:
    subject = claims["sub"]
    return Identity(
        issuer=claims["iss"],
        subject=subject,
        username=text_claim(claims, "preferred_username") or subject,
        client_id=text_claim(claims, "azp") or "",
        roles=realm_roles(claims),
        session_id=text_claim(claims, "sid"),
        expires_at=claims["exp"],
        claims=claims,
    )


def text_claim(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    return value if isinstance(value, str) and value else None


def realm_roles(claims: Mapping[str, Any]) -> frozenset[str]:
    """Keycloak's `realm_access.roles`; anything of another shape grants nothing."""
    access: object = claims.get("realm_access")
    if not isinstance(access, dict):
        return frozenset()
    roles = cast(dict[str, object], access).get("roles")
    if not isinstance(roles, list):
        return frozenset()
    return frozenset(role for role in cast(list[object], roles) if isinstance(role, str))
