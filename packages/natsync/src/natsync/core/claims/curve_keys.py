"""X25519 keys in NATS's spelling ("xkeys"), and what is sealed between two of them.

Source: nats-io/nkeys `xkeys.go`: NaCl's box behind a version and the nonce. The random bytes are an argument.
"""

from nacl.bindings import crypto_box, crypto_box_open, crypto_scalarmult_base
from nacl.exceptions import CryptoError

from natsync.core.claims.keys import CURVE_PREFIX, SEED_PREFIX, BadKey, spell, unspell

VERSION = b"xkv1"
NONCE_BYTES = 24
MAX_BOX_BYTES = 1024 * 1024


class BoxBroken(ValueError):
    """What arrived was not sealed for this key by that sender, or was altered."""


class CurveKey:
    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.public_key = spell(bytes([CURVE_PREFIX]) + crypto_scalarmult_base(raw))

    @classmethod
    def from_seed(cls, seed: str) -> "CurveKey":
        """Raises BadKey for anything but the seed of a curve key."""
        data = unspell(seed)
        if len(data) != 34 or data[:2] != _SEED_PREFIX:
            raise BadKey("not the seed of a curve key")
        return cls(data[2:])

    @property
    def seed(self) -> str:
        return spell(_SEED_PREFIX + self._raw)

    def seal(self, data: bytes, *, recipient: str, nonce: bytes) -> bytes:
        """A nonce may be used once only between two keys. Raises BadKey."""
        return VERSION + nonce + crypto_box(data, nonce, raw_public_key(recipient), self._raw)

    def open(self, box: bytes, *, sender: str) -> bytes:
        """Raises BoxBroken."""
        head = len(VERSION) + NONCE_BYTES
        if not box.startswith(VERSION) or not head < len(box) <= MAX_BOX_BYTES:
            raise BoxBroken("not a box of this version")
        try:
            return crypto_box_open(box[head:], box[len(VERSION) : head], raw_public_key(sender), self._raw)
        except (CryptoError, BadKey) as error:
            raise BoxBroken("the box does not open") from error


def raw_public_key(public_key: str) -> bytes:
    data = unspell(public_key)
    if len(data) != 33 or data[0] != CURVE_PREFIX:
        raise BadKey("not the public key of a curve key")
    return data[1:]


_SEED_PREFIX = bytes([SEED_PREFIX | CURVE_PREFIX >> 5, (CURVE_PREFIX & 31) << 3])
