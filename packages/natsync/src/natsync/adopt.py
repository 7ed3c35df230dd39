"""Carries out what is to be taken over: rows first, then the keys behind them, sealed; begun again, it goes on.

natsync must stand still meanwhile: it would make keys of its own for a row that has none yet.
"""

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from common.adapters.pocketbase import PocketBase
from common.core.errors import NotFound
from natsync.adapters.concurrently import each
from natsync.adapters.keyring import Keyring
from natsync.adapters.pocketbase_ledger import PocketBaseLedger
from natsync.core.collections.rows import Row
from natsync.core.moving.adoption import Adopted, Adoption, NotAdoptable, Pair
from natsync.core.state.ledger import Entries, Entry, SigningKey


class Adopt:
    def __init__(self, pocketbase: PocketBase, keyring: Keyring, say: Callable[[str], None]) -> None:
        self._pocketbase = pocketbase
        self._ledger = PocketBaseLedger(pocketbase)
        self._keyring = keyring
        self._say = say

    async def run(self, adoption: Adoption) -> None:
        """Raises NotAdoptable, before anything is written, when natsync has other keys in the same places."""
        entries = await self._ledger.entries()
        for adopted in adoption.entries:
            refuse_other(adopted, entries)
        for collection in dict.fromkeys(name for name, _ in adoption.rows):
            rows = [row for name, row in adoption.rows if name == collection]
            made = await each(lambda row, collection=collection: self._make(collection, row), rows)
            self._say(f"{collection}: {sum(made)} of {len(rows)} rows made")
        missing = [adopted for adopted in adoption.entries if entries.get(adopted.kind, adopted.record) is None]
        await each(lambda adopted: self._ledger.keep(self.sealed(adopted)), missing)
        self._say(f"keys: {len(missing)} of {len(adoption.entries)} taken over")
        for notice in adoption.notices:
            self._say(notice)

    async def _make(self, collection: str, row: Row) -> bool:
        try:
            await self._pocketbase.record(collection, row["id"])
        except NotFound:
            await self._pocketbase.create(collection, with_password(collection, row))
            return True
        return False

    def sealed(self, adopted: Adopted) -> Entry:
        entry = Entry(
            adopted.kind,
            adopted.record,
            name=adopted.name,
            account=adopted.account,
            role=adopted.role,
            jwt=adopted.jwt,
            issuer=adopted.issuer,
            last_iat=adopted.last_iat,
            expires_at=adopted.expires_at,
            revocations=adopted.revocations,
            older_keys=tuple(self._older(pair) for pair in adopted.older),
        )
        entry = self._keyring.with_identity(entry, adopted.identity.public_key, adopted.identity.seed)
        if adopted.kind not in ("operator", "account"):
            return entry
        if adopted.signing is None or not adopted.signing.seed:
            return self._keyring.with_signing_key(entry)
        kept = self._older(adopted.signing)
        return replace(
            entry,
            signing_public_key=kept.public_key,
            signing_private_key=kept.private_key,
            signing_seed=kept.seed,
        )

    def _older(self, pair: Pair) -> SigningKey:
        key = self._keyring.with_identity(Entry("account", ""), pair.public_key, pair.seed)
        return SigningKey(key.public_key, key.private_key, key.seed)


def refuse_other(adopted: Adopted, entries: Entries) -> None:
    known = entries.get(adopted.kind, adopted.record)
    if known and known.public_key != adopted.identity.public_key:
        raise NotAdoptable(f"natsync has another {adopted.kind} already: {known.public_key}.")


def with_password(collection: str, row: Row) -> dict[str, Any]:
    """Nobody knows it: who is to sign in to PocketBase is given one by its superuser."""
    if collection != "nats_users":
        return dict(row)
    password = secrets.token_urlsafe(32)
    return {**row, "password": password, "passwordConfirm": password}
