"""What an issuer publishes to keys that verify: JSON Web Key sets, read with suspicion.

A key says by itself what it may verify; the token that names it never does. Sources: RFC 7517 (JWK), RFC 7518 (JWA),
RFC 8037 (Ed25519), RFC 8725 (best practices).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import jwt

MAX_KEYS = 100
MAX_KEY_ID_LENGTH = 256
RSA_BITS = range(2048, 8192 + 1)

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_KINDS: Mapping[tuple[str, str | None], tuple[tuple[str, ...], tuple[str, ...]]] = {
    ("RSA", None): (_RSA, ("n", "e")),
    ("EC", "P-256"): (("ES256",), ("crv", "x", "y")),
    ("EC", "P-384"): (("ES384",), ("crv", "x", "y")),
    ("EC", "P-521"): (("ES512",), ("crv", "x", "y")),
    ("OKP", "Ed25519"): (("EdDSA",), ("crv", "x")),
}
"""Type and curve to the algorithms such a key can verify, and the members that make it up."""

ASYMMETRIC = frozenset(name for algorithms, _ in _KINDS.values() for name in algorithms)
"""Algorithms an issuer may be trusted with: whoever can verify these cannot sign."""

_PRIVATE = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))


class UnfitKey(ValueError):
    """A published key that must not be used; the message names the member at fault."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key and all that it may verify. Two are equal when they are made of the same numbers."""

    key_id: str
    algorithms: frozenset[str]
    members: tuple[str, ...]
    material: Any = field(compare=False, repr=False)

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's, by an algorithm that is allowed to it."""
        if algorithm not in self.algorithms:
            return False
        return jwt.get_algorithm_by_name(algorithm).verify(signed, self.material, signature)


def read_key(jwk: Mapping[str, object]) -> VerificationKey:
    """One RFC 7517 key. Raises UnfitKey unless it is a public key for signatures, with an id, of a kind known here."""
    if _PRIVATE & jwk.keys():
        raise UnfitKey("private members: the key is no secret any more")
    if jwk.get("use", "sig") != "sig":
        raise UnfitKey("use: not for signatures")
    operations: object = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise UnfitKey("key_ops: not for verifying")
    kind, curve = jwk.get("kty"), jwk.get("crv")
    algorithms, names = _KINDS.get((str(kind), None if curve is None else str(curve)), ((), ()))
    if not names:
        raise UnfitKey("kty, crv: of no kind known here")
    members = {"kty": str(kind), **{name: _text(jwk, name) for name in names}}
    key_id, allowed = _text(jwk, "kid", MAX_KEY_ID_LENGTH), _allowed(jwk, algorithms)
    return VerificationKey(key_id, allowed, tuple(members.values()), _material(algorithms[0], members))


def read_key_set(document: object) -> tuple[dict[str, VerificationKey], list[str]]:
    """Keys by id, and why others were left out: one unfit key does not spoil the rest.

    Raises ValueError for what is no key set, and for a set without a single fit key.
    """
    listed = cast(dict[str, object], document).get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("There is no list of keys.")
    keys: dict[str, VerificationKey] = {}
    faults: list[str] = []
    for entry in cast(list[object], listed)[:MAX_KEYS]:
        try:
            if not isinstance(entry, dict):
                raise UnfitKey("not an object")
            key = read_key(cast(dict[str, object], entry))
            keys.setdefault(key.key_id, key)
        except UnfitKey as error:
            faults.append(str(error))
    if not keys:
        raise ValueError("There is no key that could verify a token.")
    return keys, faults


def _allowed(jwk: Mapping[str, object], algorithms: tuple[str, ...]) -> frozenset[str]:
    named = jwk.get("alg")
    if named is None:
        return frozenset(algorithms)
    if named not in algorithms:
        raise UnfitKey("alg: does not fit the kind of key")
    return frozenset((str(named),))


def _text(jwk: Mapping[str, object], name: str, longest: int = 4096) -> str:
    value = jwk.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise UnfitKey(f"{name}: missing or malformed")
    return value


def _material(algorithm: str, members: dict[str, str]) -> Any:
    try:
        key: Any = jwt.get_algorithm_by_name(algorithm).from_jwk(members)
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise UnfitKey(f"{', '.join(members)}: not the numbers of a key") from error
    if members["kty"] == "RSA" and key.key_size not in RSA_BITS:
        raise UnfitKey(f"n: not {RSA_BITS.start} to {RSA_BITS.stop - 1} bits long")
    return key
