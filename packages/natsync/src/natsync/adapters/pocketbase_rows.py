"""The rows natsync reads and writes in PocketBase."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import TypeAlias, TypeVar

import structlog

from common.adapters.pocketbase import PLAIN_ID, BatchRefused, PocketBase, record_path, records_path
from common.core.pocketbase_answers import Record
from natsync.adapters.concurrently import each
from natsync.adapters.pocketbase_writing import MOST_AT_ONCE, Fence, PocketBaseWriting, Request
from natsync.core.deciding.focus import Changed
from natsync.core.showing.mirrors import Write
from natsync.core.state.ledger import Entries, Entry, to_entries, to_entry, to_row

logger = structlog.get_logger(__name__)

READ_IN_ORDER = (
    "nats_actions",
    "nats_users",
    "nats_account_imports",
    "nats_account_exports",
    "nats_roles",
    "nats_accounts",
    "natsync_bans",
    "nats_system_operator",
)
"""What refers to other rows is read before them, so that they are in the later listings."""
FOLLOWED = READ_IN_ORDER[:-1]
KEYS = "natsync_keys"
OPEN_ACTIONS = 'status != "done" && status != "refused"'
IDS_AT_ONCE = 40
BATCHES_AT_ONCE = 2

Rows: TypeAlias = dict[str, dict[str, Record]]
T = TypeVar("T")


class PocketBaseRows:
    """All methods raise ServiceError."""

    def __init__(self, pocketbase: PocketBase, fence: Fence | None = None) -> None:
        self._pocketbase = pocketbase
        self._writing = PocketBaseWriting(pocketbase, fence)

    async def confirm(self) -> None:
        """Raises StaleLease when another natsync writes them now."""
        await self._writing.confirm()

    async def read(self) -> Rows:
        """Complete listings, by collection and id; of actions those that are open."""
        found = [(name, await self._listed(name)) for name in READ_IN_ORDER]
        return {name: {row["id"]: row for row in rows} for name, rows in found}

    async def reread(self, rows: Rows, changed: Changed) -> Rows:
        """The listings with these rows as they are now, and whatever they refer to."""
        fresh = dict(rows)
        wanted = {name: set(ids) for name, ids in changed.items()}
        for name in READ_IN_ORDER:
            if ids := wanted.get(name):
                found = await self._some(name, ids)
                fresh[name] = {**{id: row for id, row in rows[name].items() if id not in ids}, **found}
                for target, id in referred(name, found.values()):
                    if id not in fresh[target]:
                        wanted.setdefault(target, set()).add(id)
        return fresh

    async def entries(self) -> Entries:
        return to_entries(await self._pocketbase.records(KEYS))

    async def keep(self, entry: Entry) -> Entry:
        """Store a ledger entry; a new one is refused with InvalidRequest when its place is taken."""
        (kept,) = await self.store([entry])
        return kept

    async def store(self, entries: Sequence[Entry]) -> list[Entry]:
        """Store entries of the ledger in this order of kinds: none of a kind is begun before the last is done."""
        kept: list[Entry] = []
        for _, group in groupby(entries, key=lambda entry: entry.kind):
            chunks = chunked(list(group))
            kept += [entry for stored in await each(self._store, chunks, at_once=BATCHES_AT_ONCE) for entry in stored]
        return kept

    async def _store(self, entries: Sequence[Entry]) -> list[Entry]:
        answers = await self._writing.all_or_none([keeping(entry) for entry in entries])
        return [to_entry(answer) for answer in answers]

    async def drop(self, entries: Sequence[Entry]) -> None:
        requests: list[Request] = [{"method": "DELETE", "url": record_path(KEYS, entry.id)} for entry in entries]
        await each(self._shown, chunked(requests), at_once=BATCHES_AT_ONCE)

    async def show(self, writes: Sequence[Write], *, stamped: bool = True) -> list[Record]:
        """Write fields of rows that people edit too; returns the rows that could be written, as they are now.

        PocketBase's PATCH reads the row and writes the whole of it back: between the two, another's change is lost.
        As a batch both happen in one transaction. Where batches are switched off the plain PATCH has to do.
        """
        stamp = {"synced_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"} if stamped else {}
        requests = [patching(write, stamp) for write in writes]
        done = await each(self._shown, chunked(requests), at_once=BATCHES_AT_ONCE)
        return [row for rows in done for row in rows]

    async def delete_actions(self, ids: Iterable[str]) -> None:
        requests: list[Request] = [{"method": "DELETE", "url": record_path("nats_actions", id)} for id in ids]
        await each(self._shown, chunked(requests), at_once=BATCHES_AT_ONCE)

    async def closed_actions(self, before: str) -> list[str]:
        """Ids of actions that were closed before that moment."""
        filter = f'(status = "done" || status = "refused") && done_at < "{before}"'
        return [row["id"] for row in await self._pocketbase.records("nats_actions", filter=filter, fields="id")]

    async def _listed(self, collection: str) -> list[Record]:
        filter = OPEN_ACTIONS if collection == "nats_actions" else ""
        return await self._pocketbase.records(collection, filter=filter)

    async def _some(self, collection: str, ids: Iterable[str]) -> dict[str, Record]:
        wanted = sorted(id for id in ids if PLAIN_ID.fullmatch(id))
        if len(wanted) > IDS_AT_ONCE * 5:
            return {row["id"]: row for row in await self._listed(collection) if row["id"] in set(wanted)}
        found: dict[str, Record] = {}
        for chunk in chunked(wanted, IDS_AT_ONCE):
            named = " || ".join(f'id = "{id}"' for id in chunk)
            filter = f"({named}) && {OPEN_ACTIONS}" if collection == "nats_actions" else named
            found |= {row["id"]: row for row in await self._pocketbase.records(collection, filter=filter)}
        return found

    async def _shown(self, requests: Sequence[Request]) -> list[Record]:
        """One that is refused, because its row was deleted meanwhile or for a rule of its owner's, stops no other."""
        left = list(requests)
        while left:
            try:
                return await self._writing.all_or_none(left)
            except BatchRefused as refused:
                logger.warning("row not written", url=left[refused.index]["url"], error=str(refused.reason))
                del left[refused.index]
        return []


def chunked(items: Sequence[T], size: int = MOST_AT_ONCE) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def referred(collection: str, rows: Iterable[Record]) -> Iterable[tuple[str, str]]:
    for row in rows:
        if collection == "nats_actions" and row.get("collection") in ("nats_accounts", "nats_users"):
            yield row["collection"], row["record"]
        if "account_id" in row:
            yield "nats_accounts", row["account_id"]
        if "role_id" in row:
            yield "nats_roles", row["role_id"]


def keeping(entry: Entry) -> Request:
    if not entry.id:
        return {"method": "POST", "url": records_path(KEYS), "body": to_row(entry)}
    return {"method": "PATCH", "url": record_path(KEYS, entry.id), "body": to_row(entry)}


def patching(write: Write, stamp: Mapping[str, str]) -> Request:
    return {"method": "PATCH", "url": record_path(write.collection, write.id), "body": {**write.fields, **stamp}}
