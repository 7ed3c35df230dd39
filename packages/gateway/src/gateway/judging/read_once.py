"""The stored record, read when a rule first wants it and never twice for one operation.

It is read as the superuser. A guard has to judge what is stored, not what the caller may see of it: with the caller's
eyes a hidden field or a closed view rule would look like a missing owner. What the caller may do is still PocketBase's
to decide afterwards, and what a rule lets out of it is the rule's to answer for.
"""

import asyncio
from types import MappingProxyType
from typing import Protocol

from common.core.errors import NotFound, UpstreamUnavailable
from gateway.core.operation import Operation
from gateway.core.rule_files.context import Stored, StoredRecord

MISSING = "The requested resource wasn't found."
_IN_A_LOOP = "ctx.stored.wait() would block a rule with async; await ctx.stored"


class StoredRecords(Protocol):
    async def stored(self, collection: str, id: str) -> StoredRecord:
        """The whole record, hidden fields and all. Raises NotFound, UpstreamUnavailable."""
        ...


class ReadOnce:
    """Made in the server's loop, where the record is read; asked from wherever the rules run.

    `failure` remembers that the record could not be had, for a rule that would hide it.
    """

    def __init__(self, records: StoredRecords, operation: Operation, *, is_answered: bool, seconds: float) -> None:
        self._records = records
        self._operation = operation
        self._is_answered = is_answered
        self._seconds = seconds
        self._server = asyncio.get_running_loop()
        self._reading = asyncio.Lock()
        self._is_read = False
        self._record: StoredRecord | None = None
        self.failure: UpstreamUnavailable | None = None

    def as_stored(self) -> Stored:
        return Stored(self._from_loop, self._from_thread)

    async def _from_loop(self) -> StoredRecord | None:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._read(), self._server))

    def _from_thread(self) -> StoredRecord | None:
        if is_in_loop():
            raise RuntimeError(_IN_A_LOOP)
        return asyncio.run_coroutine_threadsafe(self._read(), self._server).result(self._seconds)

    async def _read(self) -> StoredRecord | None:
        """None where nothing can be stored: before a create, for a list, after a delete.

        Raises NotFound for a record that is not there, as PocketBase would answer; UpstreamUnavailable.
        """
        async with self._reading:
            if not self._is_read:
                self._record = await self._ask()
                self._is_read = True
            return self._record

    async def _ask(self) -> StoredRecord | None:
        if self._operation.record_id is None:
            return None
        try:
            record = await self._records.stored(self._operation.collection, self._operation.record_id)
        except NotFound:
            if self._is_answered:
                return None
            raise NotFound(MISSING) from None
        except UpstreamUnavailable as error:
            self.failure = error
            raise
        return MappingProxyType(dict(record))


def is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
