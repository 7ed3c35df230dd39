"""Makes keys and opens sealed ones: the only place with randomness and the encryption key."""

import os
from dataclasses import replace

from natsync.core.claims.curve_keys import CurveKey
from natsync.core.claims.keys import BadKey, KeyKind, KeyPair
from natsync.core.state.ledger import Entry
from natsync.core.state.sealing import NONCE_BYTES, SealBroken, seal, unseal

_KINDS = {
    "operator": KeyKind.OPERATOR,
    "account": KeyKind.ACCOUNT,
    "scope": KeyKind.ACCOUNT,
    "user": KeyKind.USER,
    "service": KeyKind.USER,
}
_SIGNING = frozenset({"operator", "account"})


class Keyring:
    def __init__(self, encryption_key: bytes) -> None:
        self._encryption_key = encryption_key

    def with_keys(self, entry: Entry) -> Entry:
        """A new identity; operators and accounts get a signing key as well."""
        if entry.kind == "curve":
            curve = CurveKey(os.urandom(32))
            return replace(entry, public_key=curve.public_key, seed=self._seal(curve.seed))
        pair = self._new(_KINDS[entry.kind])
        entry = replace(
            entry, public_key=pair.public_key, private_key=self._seal(pair.private_key), seed=self._seal(pair.seed)
        )
        return self.with_signing_key(entry) if entry.kind in _SIGNING else entry

    def with_signing_key(self, entry: Entry) -> Entry:
        pair = self._new(_KINDS[entry.kind])
        return replace(
            entry,
            signing_public_key=pair.public_key,
            signing_private_key=self._seal(pair.private_key),
            signing_seed=self._seal(pair.seed),
        )

    def with_identity(self, entry: Entry, public_key: str, seed: str) -> Entry:
        """A key that was made elsewhere; without its seed nothing is signed with it. Raises BadKey."""
        if not seed:
            return replace(entry, public_key=public_key, private_key="", seed="")
        pair = KeyPair.from_seed(seed)
        return replace(
            entry, public_key=pair.public_key, private_key=self._seal(pair.private_key), seed=self._seal(pair.seed)
        )

    def identity(self, entry: Entry) -> KeyPair:
        """Raises SealBroken."""
        return self._open(entry.seed, entry.public_key)

    def signer(self, entry: Entry) -> KeyPair:
        """The key that signs. Raises SealBroken."""
        return self._open(entry.signing_seed, entry.signing_public_key)

    def signing(self, entry: Entry, public_key: str) -> KeyPair:
        """Whichever key of the entry that is: its own, as of a scope, or one that signed before. Raises SealBroken."""
        if public_key == entry.public_key:
            return self.identity(entry)
        older = {key.public_key: key.seed for key in entry.older_keys}
        return self._open(older.get(public_key, entry.signing_seed), public_key)

    def curve(self, entry: Entry) -> CurveKey:
        """Raises SealBroken."""
        try:
            return CurveKey.from_seed(unseal(entry.seed, key=self._encryption_key))
        except BadKey as error:
            raise SealBroken("A sealed secret is no key.") from error

    def _open(self, sealed: str, public_key: str) -> KeyPair:
        try:
            pair = KeyPair.from_seed(unseal(sealed, key=self._encryption_key))
        except BadKey as error:
            raise SealBroken("A sealed secret is no key.") from error
        if pair.public_key != public_key:
            raise SealBroken("A sealed seed belongs to another public key.")
        return pair

    def _new(self, kind: KeyKind) -> KeyPair:
        return KeyPair(kind, os.urandom(32))

    def _seal(self, text: str) -> str:
        return seal(text, key=self._encryption_key, nonce=os.urandom(NONCE_BYTES))
