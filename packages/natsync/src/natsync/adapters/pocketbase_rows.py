"""The rows natsync reads and writes in PocketBase."""

from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from common.adapters.pocketbase import PocketBase, record_path
from common.core.errors import Forbidden
from common.core.pocketbase_answers import Record
from natsync.core.ledger import Entries, Entry, to_entries, to_entry, to_row
from natsync.core.mirrors import Fields

logger = structlog.get_logger(__name__)

FOLLOWED = ("nats_accounts", "nats_roles", "nats_users")


@dataclass(frozen=True, slots=True)
class Listing:
    """Complete listings. Users are read first, so that the account and role of each are in the later ones."""

    users: list[Record]
    roles: list[Record]
    accounts: list[Record]
    entries: Entries


class PocketBaseRows:
    def __init__(self, pocketbase: PocketBase) -> None:
        self._pocketbase = pocketbase
        self._in_transaction = True

    async def read(self) -> Listing:
        """Raises ServiceError rather than return a listing that may have gaps."""
        users = await self._pocketbase.records("nats_users")
        roles = await self._pocketbase.records("nats_roles")
        accounts = await self._pocketbase.records("nats_accounts")
        return Listing(users, roles, accounts, await self.entries())

    async def entries(self) -> Entries:
        return to_entries(await self._pocketbase.records("natsync_keys"))

    async def keep(self, entry: Entry) -> Entry:
        """Store a ledger entry; a new one is refused with InvalidRequest when its place is taken."""
        if not entry.id:
            return to_entry(await self._pocketbase.create("natsync_keys", to_row(entry)))
        await self._pocketbase.update("natsync_keys", entry.id, to_row(entry))
        return entry

    async def drop(self, entry: Entry) -> None:
        await self._pocketbase.delete("natsync_keys", entry.id)

    async def show(self, collection: str, id: str, fields: Fields) -> None:
        """Write fields of a row that people edit too.

        PocketBase's PATCH reads the row and writes the whole of it back: between the two, another's change is lost.
        As a batch both happen in one transaction. Where batches are switched off the plain PATCH has to do.
        """
        stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
        stamped = {**fields, "synced_at": stamp}
        if self._in_transaction:
            change = {"method": "PATCH", "url": record_path(collection, id), "body": stamped}
            try:
                await self._pocketbase.batch([change])
                return
            except Forbidden:
                logger.warning("PocketBase's batch API is switched off: an edit made while natsync writes may be lost")
                self._in_transaction = False
        await self._pocketbase.update(collection, id, stamped)
