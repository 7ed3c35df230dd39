"""NATS keys ("nkeys"): Ed25519 with a typed, checksummed base32 spelling.

The random bytes are an argument; nothing here makes them up.
"""

import base64
import binascii
from enum import IntEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SERVER_PREFIX = 13 << 3  # spells 'N': nats-server's own keys
CURVE_PREFIX = 23 << 3  # spells 'X': X25519, for encryption
SEED_PREFIX = 18 << 3  # spells 'S'
PRIVATE_PREFIX = 15 << 3  # spells 'P'


class KeyKind(IntEnum):
    """Whose key it is; the value is the prefix byte that spells its first letter."""

    ACCOUNT = 0
    OPERATOR = 14 << 3
    USER = 20 << 3


class BadKey(ValueError):
    """The text is not the key it should be."""


class KeyPair:
    def __init__(self, kind: KeyKind, raw: bytes) -> None:
        self.kind = kind
        self._raw = raw
        self._key = Ed25519PrivateKey.from_private_bytes(raw)
        self._public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public_key = spell(bytes([kind]) + self._public)

    @classmethod
    def from_seed(cls, seed: str) -> "KeyPair":
        """Raises BadKey for anything but the seed of an operator, account or user."""
        data = unspell(seed)
        if len(data) != 34 or data[0] & 0xF8 != SEED_PREFIX:
            raise BadKey("not a seed")
        prefix = (data[0] & 7) << 5 | (data[1] & 0xF8) >> 3
        try:
            return cls(KeyKind(prefix), data[2:])
        except ValueError as error:
            raise BadKey("not the seed of an operator, account or user") from error

    @property
    def seed(self) -> str:
        return spell(bytes([SEED_PREFIX | self.kind >> 5, (self.kind & 31) << 3]) + self._raw)

    @property
    def private_key(self) -> str:
        return spell(bytes([PRIVATE_PREFIX]) + self._raw + self._public)

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


def verifies(public_key: str, data: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(unspell(public_key)[1:]).verify(signature, data)
    except (InvalidSignature, BadKey):
        return False
    return True


def is_public_key(text: str, kind: int) -> bool:
    try:
        data = unspell(text)
    except BadKey:
        return False
    return len(data) == 33 and data[0] == kind


def spell(data: bytes) -> str:
    checksum = binascii.crc_hqx(data, 0).to_bytes(2, "little")
    return base64.b32encode(data + checksum).rstrip(b"=").decode()


def unspell(text: str) -> bytes:
    """Raises BadKey unless the text is base32 and its checksum is right."""
    try:
        data = base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError as error:
        raise BadKey("not base32") from error
    if len(data) < 3 or binascii.crc_hqx(data[:-2], 0).to_bytes(2, "little") != data[-2:]:
        raise BadKey("the checksum is wrong")
    return data[:-2]
