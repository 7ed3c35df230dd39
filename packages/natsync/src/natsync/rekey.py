"""Seals every stored secret with another key. May be cut short at any point and run again; until it is through,
natsync starts with neither key.

The operator is marked and sealed anew first: from then on a natsync that still runs with the old key writes nothing.
"""

import os
from collections.abc import Callable, Iterable
from functools import partial

from common.core.errors import ServiceError, UpstreamUnavailable
from natsync.adapters.concurrently import each
from natsync.adapters.keyring import Keyring
from natsync.adapters.pocketbase_ledger import PocketBaseLedger
from natsync.core.collections.rows import Row
from natsync.core.state import sealing
from natsync.core.state.ledger import SECRETS, Entries, Entry, resealed

ROUNDS = 10
REKEYING = "rekeying"
MIRRORS = (("account", "nats_accounts"), ("user", "nats_users"), ("operator", "nats_system_operator"))


class KeyRefused(Exception):
    """natsync must not start with this key; the message says what to do."""


class Rekey:
    def __init__(self, ledger: PocketBaseLedger, *, old: bytes, new: bytes, say: Callable[[str], None]) -> None:
        self._ledger = ledger
        self._reseal = partial(reseal, old=old, new=new)
        self._say = say

    async def run(self) -> None:
        """Raises ServiceError, and SealBroken for a secret that neither key opens; what was done till then counts."""
        entries = await self._ledger.entries()
        operator = entries.get("operator", "operator")
        if operator is None:
            raise UpstreamUnavailable("There is nothing to seal anew: there is no operator.")
        after = resealed(operator, self._reseal)  # wrong keys show here, before anything is written
        await self._ledger.mark(operator, REKEYING)
        await self._ledger.keep_secrets(after)
        for _ in range(ROUNDS):
            entries = await self._ledger.entries()
            changed = [after for entry in all_of(entries) if (after := resealed(entry, self._reseal)) != entry]
            if not changed:
                break
            await each(self._ledger.keep_secrets, changed)
            self._say(f"{len(changed)} entries sealed anew")
        else:
            raise UpstreamUnavailable(
                "Something goes on sealing with the old key: stop every natsync, and run this again."
            )
        await self._show(entries)
        await self._ledger.mark(operator, "")

    async def _show(self, entries: Entries) -> None:
        """The copies on people's rows. A pass would put them right too, but until then the old key opens them."""
        for kind, collection in MIRRORS:
            for row in await self._ledger.rows(collection):
                entry = entries.by_place.get((kind, "operator" if kind == "operator" else row["id"]))
                if entry and (fields := secrets_of(entry, row)):
                    await self._ledger.change(collection, row["id"], fields)


def secrets_of(entry: Entry, row: Row) -> dict[str, str]:
    mine = {name: str(getattr(entry, name)) for name in SECRETS if name in row}
    return {name: value for name, value in mine.items() if row[name] and row[name] != value}


def all_of(entries: Entries) -> Iterable[Entry]:
    return entries.by_place.values()


def reseal(sealed: str, *, old: bytes, new: bytes) -> str:
    if not sealed:
        return sealed
    return sealing.resealed(sealed, old=old, new=new, nonce=os.urandom(sealing.NONCE_BYTES))


async def check_key(ledger: PocketBaseLedger, keyring: Keyring) -> None:
    """Raises KeyRefused; returns when PocketBase is away, or has nothing that is sealed yet."""
    try:
        operator = await ledger.operator()
    except ServiceError:
        return
    if operator is None:
        return
    if operator.state == REKEYING:
        raise KeyRefused("The encryption key is being changed, or that was interrupted: run `natsync rekey` again.")
    try:
        keyring.signer(operator)
    except sealing.SealBroken as error:
        raise KeyRefused(f"{error} It was sealed with another key, or `natsync rekey` has been run since.") from error
