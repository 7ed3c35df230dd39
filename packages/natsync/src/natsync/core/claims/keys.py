"""NATS keys ("nkeys"): Ed25519 with a typed, checksummed base32 spelling.

The random bytes are an argument; nothing here makes them up.
"""

import base64
import binascii
from enum import IntEnum

from nacl.bindings import crypto_sign, crypto_sign_BYTES, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

SERVER_PREFIX = 13 << 3  # spells 'N': nats-server's own keys
CURVE_PREFIX = 23 << 3  # spells 'X': X25519, for encryption
SEED_PREFIX = 18 << 3  # spells 'S'
PRIVATE_PREFIX = 15 << 3  # spells 'P'
KEY_BYTES = 33  # the prefix and 32


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
        self._public, self._secret = crypto_sign_seed_keypair(raw)
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
        return crypto_sign(data, self._secret)[:crypto_sign_BYTES]


def verifies(public_key: str, data: bytes, signature: bytes) -> bool:
    """Lengths are looked at here: below, nobody does."""
    try:
        key = unspell(public_key)
        if len(key) != KEY_BYTES or len(signature) != crypto_sign_BYTES:
            return False
        crypto_sign_open(signature + data, key[1:])
    except (BadSignatureError, BadKey):
        return False
    return True


def is_public_key(text: str, kind: int) -> bool:
    try:
        data = unspell(text)
    except BadKey:
        return False
    return len(data) == KEY_BYTES and data[0] == kind


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
