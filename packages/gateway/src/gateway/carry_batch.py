"""Carries a batch: each item is checked as a direct call would be, and what PocketBase gets is put together anew."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import orjson

from common.core.errors import Forbidden, InvalidRequest, NotFound, Unauthenticated
from gateway.bodies.receive import Incoming
from gateway.bodies.take_in import Expected
from gateway.carry_write import (
    MAX_ANSWER_BYTES,
    METHODS,
    OVERLONG,
    WriteParts,
    check_size,
    collected,
    taken_in,
    upstream_request,
)
from gateway.core.batches.batch import (
    BatchItem,
    BatchOperation,
    batch_accepts,
    batch_items,
    batch_operation,
    upstream_batch,
)
from gateway.core.batches.batch_refusals import item_failed
from gateway.core.collections.catalogue import Collection
from gateway.core.front_door.exchange import UpstreamAnswer
from gateway.core.front_door.headers import replaced_body
from gateway.core.front_door.pocketbase_route import Route
from gateway.core.front_door.query import Query
from gateway.core.operation import Write
from gateway.core.refusals import UnreadableAnswer
from gateway.core.request import Call
from gateway.core.sessions.principal import Principal
from gateway.follow_write import effects_of
from gateway.judging.judge import Hearing
from gateway.judging.read_once import StoredRecords
from gateway.open_hearing import hearing_of
from gateway.reply import Reply

NO_BATCH_ANSWER = "PocketBase's answer to a batch is none."


class Collections(Protocol):
    async def admitted(self, spelling: str) -> Collection:
        """Raises NotFound, Forbidden, UpstreamUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Checked:
    """One item as it goes to PocketBase, and what it says to the rules."""

    operation: BatchOperation
    write: Write


class Counting(Protocol):
    async def require(
        self, method: str, route: Route, collection: str, principal: Principal | None, address: str
    ) -> None:
        """Count a use. Raises RateLimited."""
        ...


class Batches:
    """`max_items` and `max_bytes` are what PocketBase's own settings allow by default."""

    def __init__(
        self,
        parts: WriteParts,
        collections: Collections,
        records: StoredRecords,
        counting: Counting,
        *,
        max_items: int,
        max_bytes: int,
    ) -> None:
        self._parts = parts
        self._counting = counting
        self._collections = collections
        self._records = records
        self._max_items = max_items
        self._max_bytes = max_bytes

    async def carry(self, call: Call, incoming: Incoming, reply: Reply) -> None:
        """Answers, or raises a ServiceError."""
        check_size(call, incoming, self._max_bytes)
        hearing = hearing_of(self._parts.judge, call)
        expected = Expected(batch_accepts(self._max_bytes))
        async with taken_in(self._parts.intake, call, incoming, expected) as received:
            checked = await self._checked(batch_items(received, max_items=self._max_items), call, hearing)
            document = upstream_batch([item.operation for item in checked], secrets.token_hex(16))
            request = upstream_request(replace(call, query=Query()), document)
            effects = effects_of(self._parts.effects(item.write, item.operation.collection) for item in checked)
            async with self._parts.writing.exchange(request, effects, call.principal) as answer:
                await self._answered(call, checked, hearing, answer, reply)

    async def _checked(self, items: Sequence[BatchItem], call: Call, hearing: Hearing) -> list[Checked]:
        """Raises the error of the first item that is refused, in a batch's words if the item is at fault."""
        checked: list[Checked] = []
        for index, item in enumerate(items):
            try:
                operation = await self._counted(item, checked, call)
                checked.append(await self._checked_item(operation, hearing))
            except (InvalidRequest, Unauthenticated, Forbidden, NotFound) as error:
                raise item_failed(index, error) from error
        return checked

    async def _counted(self, item: BatchItem, before: Sequence[Checked], call: Call) -> BatchOperation:
        """A batch is no way around the limits of what is in it."""
        collection = await self._collections.admitted(item.route.collection or "")
        operation = batch_operation(item, collection, collection.file_fields)
        operation = operation.settled(exists=await self._exists(operation, before))
        method = METHODS[meant(operation).action]
        await self._counting.require(method, item.route, collection.name, call.principal, call.request.address)
        return operation

    async def _checked_item(self, operation: BatchOperation, hearing: Hearing) -> Checked:
        write = await self._parts.checked(meant(operation), operation.collection, operation.body, hearing)
        return Checked(replace(operation, body=replace(operation.body, fields=dict(write.fields))), write)

    async def _exists(self, operation: BatchOperation, before: Sequence[Checked]) -> bool:
        """Will the record of an upsert be there when its turn comes?"""
        if operation.action != "upsert" or operation.record_id is None:
            return False
        for item in reversed(before):
            if item.operation.collection.id == operation.collection.id and written_id(item) == operation.record_id:
                return item.write.action != "delete"
        try:
            await self._records.stored(operation.collection.name, operation.record_id)
        except NotFound:
            return False
        return True

    async def _answered(
        self, call: Call, checked: Sequence[Checked], hearing: Hearing, answer: UpstreamAnswer, reply: Reply
    ) -> None:
        if answer.status >= 300 or not hearing.rules.after_answers:
            await reply.stream(answer.status, await self._parts.headers_back(call, answer), answer.chunks())
            return
        body = await collected(answer.chunks(), MAX_ANSWER_BYTES, UnreadableAnswer(OVERLONG))
        told = await ruled(body, [item.write for item in checked], hearing)
        await reply.whole(answer.status, replaced_body(await self._parts.headers_back(call, answer), told), told)


def meant(operation: BatchOperation) -> Write:
    """Raises ValueError for an upsert that has not been settled."""
    if operation.action == "upsert":
        raise ValueError("an upsert is to be settled first")
    body, query = operation.body, dict(operation.query.pairs)
    return Write(operation.action, operation.collection.name, operation.record_id, body.fields, body.uploads(), query)


def written_id(item: Checked) -> str | None:
    """The record that the item leaves behind or takes away; None for one that PocketBase names."""
    if item.write.record_id is not None:
        return item.write.record_id
    id: object = item.write.fields.get("id")
    return id if isinstance(id, str) else None


async def ruled(body: bytes, writes: Sequence[Write], hearing: Hearing) -> bytes:
    """Raises UnreadableAnswer when PocketBase has not answered each item."""
    results = results_in(body)
    if len(results) != len(writes):
        raise UnreadableAnswer(NO_BATCH_ANSWER)
    for write, result in zip(writes, results, strict=True):
        told = result.get("body")
        shown = await hearing.after(write, b"" if told is None else orjson.dumps(told))
        result["body"] = orjson.loads(shown) if shown else None
    return orjson.dumps(results)


def results_in(body: bytes) -> list[dict[str, Any]]:
    try:
        results: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UnreadableAnswer(NO_BATCH_ANSWER) from error
    if not isinstance(results, list):
        raise UnreadableAnswer(NO_BATCH_ANSWER)
    listed = cast(list[object], results)
    return [cast(dict[str, Any], result) if isinstance(result, dict) else {} for result in listed]
