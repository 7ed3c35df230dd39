"""Compare-and-set on PocketBase records, for writers that agree to use it.

PocketBase has no conditional write, and its PATCH reads the row and writes the whole of it back. But a batch is one
transaction, and in it the deletion of a record that is not there undoes everything. So each record has one token, a
row of its own: whoever changes the record replaces the token that was read; of two who read the same, one succeeds.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common.adapters.pocketbase import PLAIN_ID, BatchRefused, PocketBase, record_path, records_path
from common.core.errors import Conflict, InvalidRequest, NotFound
from common.core.pocketbase_answers import Record

COLLECTION = "pocketwire_versions"
SCHEMA: dict[str, Any] = {
    "name": COLLECTION,
    "type": "base",
    "fields": [
        {"name": "collection", "type": "text", "required": True, "max": 255},
        {"name": "record", "type": "text", "required": True, "max": 255},
    ],
    "indexes": [f"CREATE UNIQUE INDEX idx_{COLLECTION} ON {COLLECTION} (collection, record)"],
}
"""Without rules: superusers alone."""


@dataclass(frozen=True, slots=True)
class Versioned:
    """A record as it was read, and the token of that state; None before the first versioned write."""

    collection: str
    record: Record
    token: str | None


class VersionedRecords:
    """Needs batches switched on in PocketBase's settings; every write raises Forbidden where they are not."""

    def __init__(self, pocketbase: PocketBase) -> None:
        self._pocketbase = pocketbase

    async def prepare(self) -> None:
        """Make the collection of tokens unless it is there."""
        if not any(collection.get("name") == COLLECTION for collection in await self._pocketbase.collections()):
            try:
                await self._pocketbase.request("POST", "/api/collections", SCHEMA)
            except InvalidRequest:  # another process may have been faster
                if not any(found.get("name") == COLLECTION for found in await self._pocketbase.collections()):
                    raise

    async def read(self, collection: str, id: str) -> Versioned:
        """The token is read first: should the record change in between, the token is old and a write is refused.

        Raises NotFound.
        """
        if not PLAIN_ID.fullmatch(collection) or not PLAIN_ID.fullmatch(id):
            raise NotFound("There is no record with such a name.")
        found = await self._pocketbase.records(COLLECTION, filter=f'collection = "{collection}" && record = "{id}"')
        record = await self._pocketbase.record(collection, id)
        return Versioned(collection, record, found[0]["id"] if found else None)

    async def change(self, seen: Versioned, changes: Mapping[str, Any]) -> Versioned:
        """Write `changes` if nobody else has changed the record in this way since it was read.

        Raises Conflict if somebody has: read again and decide anew. Raises the error of PocketBase when it refuses
        the changes themselves. After UpstreamUnavailable the change may or may not have been made; tried again with
        the same `seen` it is never made twice, but a change that was made is answered with Conflict.
        """
        id, token = seen.record["id"], secrets.token_hex(8)[:15]
        passing: list[dict[str, Any]] = []
        if seen.token:
            passing.append({"method": "DELETE", "url": record_path(COLLECTION, seen.token)})
        body = {"id": token, "collection": seen.collection, "record": id}
        passing.append({"method": "POST", "url": records_path(COLLECTION), "body": body})
        write = {"method": "PATCH", "url": record_path(seen.collection, id), "body": dict(changes)}
        try:
            answers = await self._pocketbase.batch([*passing, write])
        except BatchRefused as refused:
            if refused.index < len(passing):
                raise Conflict(f"The record {id!r} of {seen.collection!r} was changed by another.") from refused
            raise refused.reason from refused
        return Versioned(seen.collection, answers[-1], token)
