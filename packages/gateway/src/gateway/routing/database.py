"""PocketBase for routes: each call as the caller, through the same checks as if he had asked himself.

In batch mode changes wait, and are then written in one transaction or not at all. Every request has a Database of its
own, so that nothing of one request's batch can come into another's.
"""

import secrets
import string
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeAlias, cast

from common.core.errors import InvalidRequest, ServiceError
from gateway.core.route_files.database_call import Change, DatabaseCall, batch_results, checked

Record: TypeAlias = dict[str, Any]

MAX_BATCH = 50
"""What PocketBase's own setting allows by default."""

ID_CHARACTERS = string.ascii_lowercase + string.digits
ID_LENGTH = 15


class Calls(Protocol):
    """Who carries the calls out, and as whom."""

    async def call(self, call: DatabaseCall) -> Any:
        """PocketBase's answer, read; None for an empty one. Raises a ServiceError for a refusal."""
        ...


class BatchTooLarge(InvalidRequest):
    """More changes than one transaction may hold; none of them was written."""

    code = "batch_too_large"

    def __init__(self, changes: int, max_changes: int) -> None:
        super().__init__(
            f"A batch of {changes} changes does not fit into one transaction of at most {max_changes}; "
            "save it in parts with save_changes(split=True), which is not one transaction any more."
        )


class BatchPartFailed(ServiceError):
    """A part of a batch that was to be split failed; `written` changes before it were written and stay."""

    code = "batch_part_failed"

    def __init__(self, written: int, reason: ServiceError) -> None:
        super().__init__(f"{written} changes were written before this: {reason}")
        self.written = written


class Database:
    """`as_caller` is this same database, or where the route is granted the service's, the caller's beside it."""

    def __init__(self, calls: Calls, *, as_caller: "Database | None" = None, max_batch: int = MAX_BATCH) -> None:
        self._calls = calls
        self._max_batch = max_batch
        self._queued: list[Change] = []
        self._is_batching = False
        self.as_caller: Database = as_caller or self

    @property
    def is_batching(self) -> bool:
        return self._is_batching

    @property
    def queued(self) -> int:
        """Changes that wait to be saved."""
        return len(self._queued)

    async def get(self, collection: str, id: str, *, expand: str = "", fields: str = "") -> Record:
        """Raises NotFound, and whatever else PocketBase or a rule refuses it with."""
        query = {name: value for name, value in (("expand", expand), ("fields", fields)) if value}
        return cast(Record, await self._calls.call(DatabaseCall("view", collection, checked_id(id), query=query)))

    async def list(
        self,
        collection: str,
        *,
        page: int = 1,
        limit: int = 30,
        filter: str = "",
        sort: str = "",
        expand: str = "",
        fields: str = "",
        skip_total: bool = False,
    ) -> Record:
        """Shape: `{"page", "perPage", "totalItems", "totalPages", "items"}`."""
        texts = {"filter": filter, "sort": sort, "expand": expand, "fields": fields}
        query = {"page": str(page), "perPage": str(limit), **{name: text for name, text in texts.items() if text}}
        if skip_total:
            query["skipTotal"] = "1"
        return cast(Record, await self._calls.call(DatabaseCall("list", collection, query=query)))

    async def create(self, collection: str, data: Mapping[str, Any], scaffold: bool = False) -> Record | None:
        """The record. In batch mode None, or with `scaffold` what it will be as far as is known: its id among it."""
        if not self._is_batching:
            return cast(Record, await self._calls.call(DatabaseCall("create", collection, None, dict(data))))
        fields = {"id": new_id(), **data} if scaffold else dict(data)
        self._queue(Change("create", collection, None, fields))
        return {**fields, "collectionName": collection} if scaffold else None

    async def update(self, collection: str, id: str, data: Mapping[str, Any], scaffold: bool = False) -> Record | None:
        if not self._is_batching:
            call = DatabaseCall("update", collection, checked_id(id), dict(data))
            return cast(Record, await self._calls.call(call))
        self._queue(Change("update", collection, checked_id(id), dict(data)))
        return {**data, "id": id, "collectionName": collection} if scaffold else None

    async def delete(self, collection: str, id: str) -> None:
        if self._is_batching:
            self._queue(Change("delete", collection, checked_id(id)))
        else:
            await self._calls.call(DatabaseCall("delete", collection, checked_id(id)))

    def set_batch(self, is_batching: bool) -> None:
        """From now on changes wait for `save_changes`. Leaving batch mode forgets what was not saved."""
        self._is_batching = is_batching
        self._queued = []

    async def save_changes(self, *, split: bool = False) -> Sequence[Record | None]:
        """Writes what waits, all of it or nothing, and leaves batch mode. Whatever comes of it, nothing waits any more.

        The records in the order of the changes, None for what was deleted. `split` writes as many transactions as it
        takes instead. Raises BatchTooLarge, BatchPartFailed, and whatever PocketBase or a rule refuses a change with.
        """
        changes, self._queued, self._is_batching = self._queued, [], False
        if len(changes) > self._max_batch and not split:
            raise BatchTooLarge(len(changes), self._max_batch)
        saved: list[Record | None] = []
        for begin in range(0, len(changes), self._max_batch):
            try:
                saved += await self._saved(changes[begin : begin + self._max_batch])
            except ServiceError as error:
                if not saved:
                    raise
                raise BatchPartFailed(len(saved), error) from error
        return saved

    @asynccontextmanager
    async def batch(self, *, split: bool = False) -> AsyncGenerator["Database"]:
        """Saves at the end; an error inside saves nothing. Raises RuntimeError inside another batch."""
        if self._is_batching:
            raise RuntimeError("a batch is under way already")
        self.set_batch(True)
        try:
            yield self
            if self._is_batching:
                await self.save_changes(split=split)
        finally:
            self.set_batch(False)

    async def _saved(self, changes: Sequence[Change]) -> Sequence[Record | None]:
        return batch_results(await self._calls.call(DatabaseCall("batch", changes=tuple(changes))))

    def _queue(self, change: Change) -> None:
        checked(change.collection)
        if len(self._queued) >= MAX_QUEUED:
            raise BatchTooLarge(len(self._queued) + 1, self._max_batch)
        self._queued.append(change)


MAX_QUEUED = 5_000


def checked_id(id: str) -> str:
    checked(id)
    return id


def new_id() -> str:
    """As PocketBase makes its own."""
    return "".join(secrets.choice(ID_CHARACTERS) for _ in range(ID_LENGTH))
