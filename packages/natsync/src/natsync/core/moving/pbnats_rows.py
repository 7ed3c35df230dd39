"""pb-nats's own rows, as it keeps keys in them, to entries of the ledger: the rows stay, and so does every key.

Sources: pb-nats of August 2025 (one signing key in `signing_*` fields, in the clear) and of August 2026 (lists in
`signing_keys` and `signing_keys_private`, perhaps sealed with a key of 32 characters, the list as a whole).
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from natsync.core.claims.keys import KeyKind
from natsync.core.claims.token_codec import BadToken, unverified
from natsync.core.collections.rows import Row, text
from natsync.core.moving.adoption import Adopted, Adoption, NotAdoptable, Pair, checked
from natsync.core.state.built_in import SYSTEM
from natsync.core.state.ledger import Kind
from natsync.core.state.sealing import PREFIX, SealBroken, unseal

KEY_CHARACTERS = 32
SYSTEM_NAMES = ("System Account", "SYS")

Open: TypeAlias = Callable[[str], str]
Known: TypeAlias = Collection[tuple[str, str]]
"""Kind and record of what the ledger has already."""


@dataclass(frozen=True, slots=True)
class PbNats:
    """Its collections. `scrubbed` are fields in which secrets would be left behind, `doomed` rows without a use."""

    operator: Row
    accounts: tuple[Row, ...]
    users: tuple[Row, ...]


@dataclass(slots=True)
class TakenOver(Adoption):
    scrubbed: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    doomed: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


def opener(key: str) -> Open:
    """What opens a stored secret; without a key only those in the clear. Raises NotAdoptable, then and when used."""
    if key and len(key.encode()) != KEY_CHARACTERS:
        raise NotAdoptable(f"pb-nats's encryption key has {KEY_CHARACTERS} characters.")

    def opened(stored: str) -> str:
        if not stored.startswith(PREFIX):
            return stored
        if not key:
            raise NotAdoptable("pb-nats has sealed its keys: NATSYNC_PBNATS_ENCRYPTION_KEY is needed.")
        try:
            return unseal(stored, key=key.encode())
        except SealBroken as error:
            raise NotAdoptable("A key of pb-nats's does not open with NATSYNC_PBNATS_ENCRYPTION_KEY.") from error

    return opened


def taken_over(found: PbNats, opened: Open, known: Known) -> TakenOver:
    """Raises NotAdoptable."""
    done = TakenOver()
    system = system_account(found, known)
    done.entries += operator_entry(found.operator, opened, known, done)
    for row in found.accounts:
        is_system = row["id"] == system
        done.entries += account_entry(row, SYSTEM if is_system else row["id"], opened, known, done)
        if is_system:
            done.doomed.append(("nats_accounts", row["id"]))
            done.notices.append("The row of the system account goes: natsync keeps that account without one.")
    for row in found.users:
        if text(row, "account_id") == system:
            done.doomed.insert(0, ("nats_users", row["id"]))
            done.notices.append(f"The row of the system user {text(row, 'nats_username')} goes; natsync has its own.")
        else:
            done.entries += user_entry(row, opened, known, done)
    return done


def system_account(found: PbNats, known: Known) -> str:
    """The id of its row; empty once it was taken over and its row is gone. Raises NotAdoptable."""
    said = body_of(text(found.operator, "jwt")).get("system_account")
    by_key = [row["id"] for row in found.accounts if said and text(row, "public_key") == said]
    by_id = [row["id"] for row in found.accounts if row["id"] == text(found.operator, "system_account_id")]
    by_name = [row["id"] for row in found.accounts if text(row, "name") in SYSTEM_NAMES]
    for ids in (by_key, by_id, by_name):
        if ids:
            return ids[0]
    if ("account", SYSTEM) in known:
        return ""
    raise NotAdoptable("pb-nats's system account is not among nats_accounts.")


def operator_entry(row: Row, opened: Open, known: Known, done: TakenOver) -> list[Adopted]:
    scrub("nats_system_operator", row, done)
    if ("operator", "operator") in known:
        return []
    identity = pair_of(row, "public_key", "seed", KeyKind.OPERATOR, opened)
    signing = signing_pairs(row, KeyKind.OPERATOR, opened) or ([identity] if identity and identity.seed else [])
    if identity is None or not signing or not signing[-1].seed:
        raise NotAdoptable("pb-nats's operator has no keys.")
    return [adopted("operator", "operator", row, identity, signing)]


def account_entry(row: Row, record: str, opened: Open, known: Known, done: TakenOver) -> list[Adopted]:
    scrub("nats_accounts", row, done)
    if ("account", record) in known:
        return []
    identity = pair_of(row, "public_key", "seed", KeyKind.ACCOUNT, opened)
    if identity is None:
        done.notices.append(f"Account {text(row, 'name')} has no keys: natsync makes some.")
        return []
    return [adopted("account", record, row, identity, signing_pairs(row, KeyKind.ACCOUNT, opened))]


def user_entry(row: Row, opened: Open, known: Known, done: TakenOver) -> list[Adopted]:
    if ("user", row["id"]) in known:
        return []
    identity = pair_of(row, "public_key", "seed", KeyKind.USER, opened)
    if identity is None or not identity.seed:
        done.notices.append(f"User {text(row, 'nats_username')} has no keys: natsync makes some.")
        return []
    return [adopted("user", row["id"], row, identity, [])]


def adopted(kind: Kind, record: str, row: Row, identity: Pair, signing: list[Pair]) -> Adopted:
    token = text(row, "jwt")
    claims = claims_of(token)
    revocations = cast(Mapping[str, Any], body_of(token).get("revocations") or {})
    return Adopted(
        kind,
        record,
        str(claims.get("name") or text(row, "name") or text(row, "nats_username")),
        identity,
        signing[-1] if signing else None,
        older=tuple(signing[:-1]),
        account=text(row, "account_id"),
        role=text(row, "role_id"),
        jwt=token if claims else "",
        issuer=str(claims.get("iss", "")),
        last_iat=int(claims.get("iat", 0)),
        expires_at=int(claims.get("exp", 0)),
        revocations={str(key): int(cutoff) for key, cutoff in revocations.items()},
    )


def signing_pairs(row: Row, kind: KeyKind, opened: Open) -> list[Pair]:
    """Oldest first; the last one signs."""
    stored: object = row.get("signing_keys_private")
    if isinstance(stored, str) and stored:
        stored = parsed(opened(stored))
    if isinstance(stored, list) and stored:
        return [listed_pair(key, kind) for key in cast(list[object], stored)]
    scalar = pair_of(row, "signing_public_key", "signing_seed", kind, opened)
    return [scalar] if scalar else []


def listed_pair(value: object, kind: KeyKind) -> Pair:
    if not isinstance(value, dict):
        raise NotAdoptable("A list of signing keys of pb-nats's cannot be read.")
    key = cast(Mapping[str, object], value)
    return checked(Pair(str(key.get("public_key", "")), str(key.get("seed", ""))), kind)


def parsed(stored: str) -> object:
    try:
        return json.loads(stored)
    except ValueError as error:
        raise NotAdoptable("A list of signing keys of pb-nats's cannot be read.") from error


def pair_of(row: Row, public_key: str, seed: str, kind: KeyKind, opened: Open) -> Pair | None:
    if not text(row, public_key):
        return None
    return checked(Pair(text(row, public_key), opened(text(row, seed))), kind)


def scrub(collection: str, row: Row, done: TakenOver) -> None:
    """Fields that natsync has no copy of its own in are emptied: what was in the clear there does not stay."""
    if row.get("signing_keys_private"):
        done.scrubbed.append((collection, row["id"], "signing_keys_private"))


def claims_of(token: str) -> Mapping[str, Any]:
    try:
        return unverified(token)
    except BadToken:
        return {}


def body_of(token: str) -> Mapping[str, Any]:
    body: object = claims_of(token).get("nats")
    return cast(Mapping[str, Any], body) if isinstance(body, dict) else {}
