"""The ledger as a whole, for commands that look after it while natsync stands still."""

from collections.abc import Mapping
from typing import Any

from common.adapters.pocketbase import PocketBase, record_path
from common.core.errors import Forbidden, NotFound
from common.core.pocketbase_answers import Record
from natsync.core.state.ledger import SECRETS, Entries, Entry, to_entries, to_entry, to_row


class PocketBaseLedger:
    """All methods raise ServiceError."""

    def __init__(self, pocketbase: PocketBase) -> None:
        self._pocketbase = pocketbase

    async def entries(self) -> Entries:
        return to_entries(await self.rows("natsync_keys"))

    async def operator(self) -> Entry | None:
        rows = await self.rows("natsync_keys", filter='kind = "operator" && record = "operator"')
        return to_entry(rows[0]) if rows else None

    async def keep(self, entry: Entry) -> Entry:
        """A new one is refused with InvalidRequest when its place is taken."""
        if not entry.id:
            return to_entry(await self._pocketbase.create("natsync_keys", to_row(entry)))
        await self._pocketbase.update("natsync_keys", entry.id, to_row(entry))
        return entry

    async def keep_secrets(self, entry: Entry) -> None:
        """Nothing else of it is written: a natsync that still runs may be changing that."""
        written = to_row(entry)
        await self.change("natsync_keys", entry.id, {name: written[name] for name in (*SECRETS, "older_keys")})

    async def mark(self, entry: Entry, state: str) -> None:
        await self.change("natsync_keys", entry.id, {"state": state})

    async def rows(self, collection: str, *, filter: str = "") -> list[Record]:
        """None where nobody has made the collection yet."""
        try:
            return await self._pocketbase.records(collection, filter=filter)
        except NotFound:
            return []

    async def change(self, collection: str, id: str, fields: Mapping[str, Any]) -> None:
        """In one transaction, so that nobody's edit is lost; where batches are off, without."""
        change = {"method": "PATCH", "url": record_path(collection, id), "body": dict(fields)}
        try:
            await self._pocketbase.batch([change])
        except Forbidden:
            await self._pocketbase.update(collection, id, fields)
