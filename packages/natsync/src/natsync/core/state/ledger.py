"""What natsync knows and nobody else may change: keys, what was last said under them, and who was cut off.

Each entry is one row of `natsync_keys`. Secrets in it stay sealed; the fields of the same name in other
collections are copies of it.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, cast

from natsync.core.claims.token_codec import unverified
from natsync.core.collections.rows import Row

Kind: TypeAlias = Literal["operator", "account", "scope", "user", "service", "curve"]

REMOVED = "removed"
LOCKED = "locked"
HANDLED_KEPT = 32
SECRETS = ("private_key", "seed", "signing_private_key", "signing_seed")
KEY_FIELDS = ("public_key", "private_key", "seed", "signing_public_key", "signing_private_key", "signing_seed")
TEXT_FIELDS = (
    "kind",
    "record",
    "name",
    "account",
    *KEY_FIELDS,
    "jwt",
    "content",
    "issuer",
    "state",
    "remark",
    "creds_digest",
    "role",
    "lingering",
)
NUMBER_FIELDS = ("last_iat", "expires_at", "revision")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A signing key that no longer signs but still counts; its secrets are sealed."""

    public_key: str
    private_key: str
    seed: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One identity and what was last said of it.

    The `signing_` key is the one that signs; `older_keys` count as well. A scope is the signing key of one role in one
    account: its `record` is `<account>.<role>`, its `content` the role as it last stood. `account` and `role` are the
    record ids a user's token was last issued under, `issuer` the key that signed it. `lingering` is what a token says
    that was issued before the role alone counted, and still does. `content` names what `jwt` says. `handled` are the
    triggers and actions that were carried out. `state` is REMOVED or LOCKED once the servers were told that the
    account is gone. `suspended` was said by an action; a row cannot unsay it.
    """

    kind: str
    record: str
    name: str = ""
    account: str = ""
    role: str = ""
    public_key: str = ""
    private_key: str = ""
    seed: str = ""
    signing_public_key: str = ""
    signing_private_key: str = ""
    signing_seed: str = ""
    older_keys: tuple[SigningKey, ...] = ()
    jwt: str = ""
    content: str = ""
    issuer: str = ""
    lingering: str = ""
    last_iat: int = 0
    expires_at: int = 0
    revocations: Mapping[str, int] = field(default_factory=dict[str, int])
    state: str = ""
    suspended: bool = False
    handled: tuple[str, ...] = ()
    revision: int = 0
    remark: str = ""
    creds_digest: str = ""
    id: str = ""

    @property
    def place(self) -> tuple[str, str]:
        return self.kind, self.record

    @property
    def signing_public_keys(self) -> list[str]:
        """Oldest first; the last one signs."""
        return [*(key.public_key for key in self.older_keys), self.signing_public_key]

    def having_handled(self, token: str, open_tokens: Collection[str]) -> "Entry":
        """Those still open are remembered as long as they are, of the others the last few."""
        earlier = self.handled[: -HANDLED_KEPT + 1]
        kept = [one for one in earlier if one.rstrip("!") in open_tokens] + list(self.handled[-HANDLED_KEPT + 1 :])
        return replace(self, handled=(*kept, token), revision=self.revision + 1, remark="")


def to_entry(row: Row) -> Entry:
    texts = {name: str(row.get(name) or "") for name in TEXT_FIELDS}
    if texts["jwt"] and not texts["issuer"]:  # written before issuers were
        texts["issuer"] = str(unverified(texts["jwt"]).get("iss") or "")
    numbers = {name: int(row.get(name) or 0) for name in NUMBER_FIELDS}
    return Entry(
        **texts,  # type: ignore[arg-type]
        **numbers,
        older_keys=to_keys(row.get("older_keys")),
        revocations=to_ledger(row.get("revocations")),
        suspended=row.get("suspended") is True,
        handled=tuple(str(row.get("handled") or "").split()),
        id=row["id"],
    )


def to_row(entry: Entry) -> dict[str, Any]:
    return {
        **{name: getattr(entry, name) for name in (*TEXT_FIELDS, *NUMBER_FIELDS)},
        "older_keys": [
            {"public_key": key.public_key, "private_key": key.private_key, "seed": key.seed} for key in entry.older_keys
        ],
        "revocations": dict(entry.revocations),
        "suspended": entry.suspended,
        "handled": " ".join(entry.handled),
    }


def to_ledger(value: object) -> dict[str, int]:
    if not isinstance(value, dict):
        return {}
    return {str(key): int(cutoff) for key, cutoff in cast(dict[object, int], value).items()}


def to_keys(value: object) -> tuple[SigningKey, ...]:
    if not isinstance(value, list):
        return ()
    found = cast(list[Mapping[str, str]], value)
    return tuple(SigningKey(key["public_key"], key["private_key"], key["seed"]) for key in found)


def resealed(entry: Entry, reseal: Callable[[str], str]) -> Entry:
    """With every secret of the entry sealed anew; one that is empty stays so."""
    older = tuple(replace(key, private_key=reseal(key.private_key), seed=reseal(key.seed)) for key in entry.older_keys)
    secrets = {name: reseal(getattr(entry, name)) for name in SECRETS if getattr(entry, name)}
    return replace(entry, older_keys=older, **secrets)


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
    return {entry.place: entry for entry in entries}


def to_entries(rows: Iterable[Row]) -> Entries:
    return Entries(by_place(to_entry(row) for row in rows))
