"""Creates, updates and deletes one record: take in, check, ask the rules, write, follow what it changed, answer."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from common.core.errors import ServiceError
from gateway.bodies.aside import aside
from gateway.bodies.incoming_form import NO_FILES, Expected
from gateway.bodies.inspect_uploads import inspect
from gateway.bodies.receive import TOO_LARGE, Incoming
from gateway.bodies.take_in import Intake
from gateway.core.bodies.record_body import ReceivedBody, RecordBody, UpstreamBody, record_body, streamed, upstream_body
from gateway.core.caching.write_reach import changed_by
from gateway.core.collections.catalogue import Collection
from gateway.core.collections.field_values import settled_body
from gateway.core.front_door.cross_origin import ALLOW_ORIGIN
from gateway.core.front_door.exchange import UpstreamAnswer, UpstreamRequest
from gateway.core.front_door.form_query import form_query
from gateway.core.front_door.headers import declared_length, inbound, read_here, replaced_body
from gateway.core.front_door.pocketbase_route import Route
from gateway.core.operation import Write, WriteAction
from gateway.core.refusals import TooLarge, UnreadableAnswer
from gateway.core.request import Call
from gateway.core.sessions.account_change import account_changes
from gateway.core.uploads.upload_checks import DEFAULT_MAX_PIXELS, accepts, max_body_bytes
from gateway.follow_write import Effects, Writing
from gateway.judging.judge import Hearing, Judge
from gateway.open_hearing import hearing_of
from gateway.reply import Headers, Reply, with_successor
from gateway.sessions.sign_in import SignIns

ACTIONS: Mapping[str, WriteAction] = {"POST": "create", "PATCH": "update", "DELETE": "delete"}
METHODS: Mapping[WriteAction, str] = {action: method for method, action in ACTIONS.items()}
REFUSALS: Mapping[WriteAction, str] = {
    "create": "Failed to create record.",
    "update": "Failed to update record.",
    "delete": "Failed to delete record.",
}
MAX_ANSWER_BYTES = 64 * 1024 * 1024
OVERLONG = "PocketBase's answer is overlong."


class KnownCollections(Protocol):
    @property
    def known(self) -> tuple[Collection, ...]:
        """All there are, as far as is known."""
        ...


@dataclass(frozen=True, slots=True)
class WriteParts:
    """What writes of one record and batches have in common."""

    intake: Intake
    judge: Judge
    writing: Writing
    collections: KnownCollections
    sign_ins: SignIns
    max_pixels: int = DEFAULT_MAX_PIXELS

    async def checked(self, write: Write, collection: Collection, body: RecordBody, hearing: Hearing) -> Write:
        """What is to be written in its place. Raises a ServiceError for what a field or a rule refuses."""
        await inspect(body, collection.file_fields, refusal=REFUSALS[write.action], max_pixels=self.max_pixels)
        return await hearing.before_write(write)

    def effects(self, write: Write, collection: Collection) -> Effects:
        """Of the write as it goes to PocketBase."""
        after = ("records",) if write.record_id is None else ("records", write.record_id)
        route = Route("records", ("collections",), collection.name, after)
        changes = account_changes(METHODS[write.action], route, collection, write.fields)
        return Effects(changed_by(write.action, collection, self.collections.known), changes)

    async def headers_back(self, call: Call, answer: UpstreamAnswer) -> Headers:
        successor = await self.sign_ins.rolled(call.principal, call.request.headers)
        return with_successor([*inbound(answer.headers), ALLOW_ORIGIN], successor)


class RecordWrites:
    def __init__(self, parts: WriteParts) -> None:
        self._parts = parts

    async def carry(self, call: Call, collection: Collection, incoming: Incoming, reply: Reply) -> None:
        """Answers, or raises a ServiceError."""
        action = ACTIONS[call.request.method]
        check_size(call, incoming, max_body_bytes(collection.file_fields))
        hearing = hearing_of(self._parts.judge, call)
        expected = Expected(accepts(collection.file_fields), REFUSALS[action])
        async with taken_in(self._parts.intake, call, incoming, expected) as received:
            await self._written(call, collection, received, hearing, reply)

    async def write(self, call: Call, collection: Collection, received: ReceivedBody, reply: Reply) -> None:
        """With a body that is here already. Answers, or raises a ServiceError."""
        await self._written(call, collection, received, hearing_of(self._parts.judge, call), reply)

    async def _written(
        self, call: Call, collection: Collection, received: ReceivedBody, hearing: Hearing, reply: Reply
    ) -> None:
        action = ACTIONS[call.request.method]
        body = await aside(received.size_bytes, settled_record, received, collection)
        write = await self._parts.checked(meant(call, collection, action, body), collection, body, hearing)
        request = upstream_write(call, replace(body, fields=dict(write.fields)), action)
        effects = self._parts.effects(write, collection)
        async with self._parts.writing.exchange(request, effects, call.principal) as answer:
            await self._answered(call, write, hearing, answer, reply)

    async def _answered(self, call: Call, write: Write, hearing: Hearing, answer: UpstreamAnswer, reply: Reply) -> None:
        if answer.status >= 300 or not hearing.rules.after_answers:
            await reply.stream(answer.status, await self._parts.headers_back(call, answer), answer.chunks())
            return
        told = await hearing.after(
            write, await collected(answer.chunks(), MAX_ANSWER_BYTES, UnreadableAnswer(OVERLONG))
        )
        await reply.whole(answer.status, replaced_body(await self._parts.headers_back(call, answer), told), told)


def settled_record(received: ReceivedBody, collection: Collection) -> RecordBody:
    """Raises MalformedBody."""
    return settled_body(record_body(received), collection.fields)


def check_size(call: Call, incoming: Incoming, max_bytes: int) -> None:
    """Raises TooLarge for a body that says by itself that it is too large for what it is meant for."""
    incoming.bound(max_bytes)
    if (declared_length(call.request.headers) or 0) > max_bytes:
        raise TooLarge(TOO_LARGE)


def taken_in(
    intake: Intake, call: Call, incoming: Incoming, expected: Expected = NO_FILES
) -> AbstractAsyncContextManager[ReceivedBody]:
    length = declared_length(call.request.headers)
    return intake.take_in(incoming.chunks(), call.media, expected, declared_bytes=length)


def meant(call: Call, collection: Collection, action: WriteAction, body: RecordBody) -> Write:
    record_id = next(iter(call.request.route.after[1:]), None)
    query = dict(call.query.pairs)
    return Write(action, collection.name, record_id, body.fields, body.uploads(), query)


def upstream_write(call: Call, body: RecordBody, action: WriteAction) -> UpstreamRequest:
    document = None if action == "delete" else upstream_body(body, secrets.token_hex(16))
    return upstream_request(call, document)


def upstream_request(call: Call, document: UpstreamBody | None) -> UpstreamRequest:
    """With exactly the type and the length of the body; the answer is one that can be read here."""
    headers = read_here(call.outbound())
    if document:
        headers += [("Content-Type", document.content_type), ("Content-Length", str(document.length))]
    body = streamed(document) if document else None
    return UpstreamRequest(call.request.method, call.target(call.query), headers, body)


def canonical_query(call: Call) -> Call:
    """The call with what may stay of its query beside its body."""
    if not call.media.is_form:
        return call
    names = [field.name for field in call.collection.fields] if call.collection else []
    return replace(call, query=form_query(call.query, names))


async def collected(chunks: AsyncIterator[bytes], max_bytes: int, overlong: ServiceError) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            raise overlong
    return bytes(body)
