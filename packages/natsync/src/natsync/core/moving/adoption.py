"""What is taken over from another keeper of NATS accounts: rows, and the keys behind them, unsealed for as long as
that takes."""

import hashlib
from base64 import b32encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from natsync.core.claims.keys import BadKey, KeyKind, KeyPair, is_public_key
from natsync.core.collections.rows import Row
from natsync.core.state.ledger import Kind


class NotAdoptable(Exception):
    """Nothing can be taken over as it is; the message says what is missing or wrong, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A key as it is found: `seed` may be missing, then nothing can be signed with it."""

    public_key: str
    seed: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Adopted:
    """One identity. Without a `signing` key that has a seed a new one is made, beside the `older` ones."""

    kind: Kind
    record: str
    name: str
    identity: Pair
    signing: Pair | None = None
    older: tuple[Pair, ...] = ()
    account: str = ""
    role: str = ""
    jwt: str = ""
    issuer: str = ""
    last_iat: int = 0
    expires_at: int = 0
    revocations: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(slots=True)
class Adoption:
    """`rows` are to be made in their order, each with its collection and id; `notices` are for people."""

    entries: list[Adopted] = field(default_factory=list[Adopted])
    rows: list[tuple[str, Row]] = field(default_factory=list[tuple[str, Row]])
    notices: list[str] = field(default_factory=list[str])

    def add_row(self, collection: str, id: str, **fields: Any) -> str:
        if not any((name, row["id"]) == (collection, id) for name, row in self.rows):
            self.rows.append((collection, {"id": id, **fields}))
        return id


def record_id(*names: str) -> str:
    """The same for the same thing, so that taking over can be begun again where it was cut short."""
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    return b32encode(digest).decode().lower()[:15]


def checked(pair: Pair, kind: KeyKind) -> Pair:
    """Raises NotAdoptable for a key of another kind, and for a seed that is not the key's."""
    if not is_public_key(pair.public_key, kind):
        raise NotAdoptable(f"{pair.public_key[:60]!r} is no public key of kind {kind.name}.")
    if not pair.seed:
        return pair
    try:
        found = KeyPair.from_seed(pair.seed).public_key
    except BadKey as error:
        raise NotAdoptable(f"The seed that is kept for {pair.public_key} is no seed.") from error
    if found != pair.public_key:
        raise NotAdoptable(f"The seed that is kept for {pair.public_key} belongs to another key.")
    return pair
