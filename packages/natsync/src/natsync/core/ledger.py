"""What natsync knows and nobody else may change: keys, what was last said under them, and who was cut off.

Each entry is one row of `natsync_keys`. Secrets in it stay sealed; the fields of the same name in other
collections are copies of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

from natsync.core.rows import Row

Kind: TypeAlias = Literal["operator", "account", "user", "service"]

REMOVED = "removed"
KEY_FIELDS = (
    "public_key",
    "private_key",
    "seed",
    "signing_public_key",
    "signing_private_key",
    "signing_seed",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """`account` is the record id a user's token was last issued under. `content` names what `jwt` says.

    `handled` is the trigger (`rotate_keys`, `regenerate`) that was carried out and is not seen cleared yet.
    """

    kind: str
    record: str
    name: str = ""
    account: str = ""
    public_key: str = ""
    private_key: str = ""
    seed: str = ""
    signing_public_key: str = ""
    signing_private_key: str = ""
    signing_seed: str = ""
    jwt: str = ""
    content: str = ""
    last_iat: int = 0
    revocations: Mapping[str, int] = field(default_factory=dict[str, int])
    state: str = ""
    handled: str = ""
    id: str = ""


def to_entry(row: Row) -> Entry:
    texts = {name: str(row.get(name) or "") for name in TEXT_FIELDS}
    return Entry(**texts, last_iat=int(row["last_iat"]), revocations=to_ledger(row.get("revocations")), id=row["id"])


def to_row(entry: Entry) -> dict[str, Any]:
    texts = {name: getattr(entry, name) for name in TEXT_FIELDS}
    return {**texts, "last_iat": entry.last_iat, "revocations": dict(entry.revocations)}


def to_ledger(value: object) -> dict[str, int]:
    if not isinstance(value, dict):
        return {}
    return {str(key): int(cutoff) for key, cutoff in cast(dict[object, int], value).items()}


TEXT_FIELDS = ("kind", "record", "name", "account", *KEY_FIELDS, "jwt", "content", "state", "handled")


@dataclass(frozen=True, slots=True)
class Entries:
    """The ledger by kind and record."""

    by_place: Mapping[tuple[str, str], Entry]

    def get(self, kind: Kind, record: str) -> Entry | None:
        return self.by_place.get((kind, record))

    def of_kind(self, kind: Kind) -> list[Entry]:
        return [entry for entry in self.by_place.values() if entry.kind == kind]

    def having(self, changed: Iterable[Entry]) -> "Entries":
        return Entries({**self.by_place, **by_place(changed)})

    def without(self, gone: Iterable[Entry]) -> "Entries":
        left_out = by_place(gone)
        return Entries({place: entry for place, entry in self.by_place.items() if place not in left_out})


def by_place(entries: Iterable[Entry]) -> dict[tuple[str, str], Entry]:
    return {(entry.kind, entry.record): entry for entry in entries}


def to_entries(rows: Iterable[Row]) -> Entries:
    return Entries(by_place(to_entry(row) for row in rows))
