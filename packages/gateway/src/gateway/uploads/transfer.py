"""Uploads that come in piece by piece, whichever way: begun, gone on with, looked at, and written as any record is.

begin: limits | collections.admitted | field | parts.begin     add: parts.append | what the bytes show
finish: parts.hold | checksum | forwarding.write (inspect, rules, PocketBase as the caller) | answer
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec
import structlog
from prometheus_client import Counter

from common.core.errors import ServiceError, Unauthenticated
from common.limiter import client_network
from gateway.core.bodies.field_names import field_of
from gateway.core.bodies.record_body import ReceivedBody, UploadedFile
from gateway.core.body_refusals import FieldError, InvalidFields
from gateway.core.collections.catalogue import Collection
from gateway.core.front_door.headers import without_body
from gateway.core.front_door.pocketbase_route import Route
from gateway.core.refusal_answer import status_of
from gateway.core.request import Request
from gateway.core.sessions.principal import Principal
from gateway.core.uploads.executables import disguised
from gateway.core.uploads.file_type import HEAD_BYTES, detected
from gateway.core.uploads.intent import Intent, read, written
from gateway.core.uploads.part_name import Claim, PartName, claim_of_account, claim_of_guest
from gateway.core.uploads.transfer_refusals import Moved
from gateway.core.uploads.upload_checks import FileField, accepts, too_large, type_error
from gateway.forward import Forwarding
from gateway.limit import Limits
from gateway.reply import Reply
from gateway.uploads.collect_answer import Answer, Collected

logger = structlog.get_logger(__name__)

UPLOADS = Counter("gateway_uploads", "Uploads that come in piece by piece, by what became of them.", ("outcome",))
RECEIVED = Counter("gateway_upload_bytes", "Bytes of uploads that come in piece by piece.")

FORM = (b"content-type", b"multipart/form-data; boundary=upload")
LOOKED_AT = Route("file", ("files",), None, ())
SIGN_IN = "Uploads that can be resumed are for users who have signed in."
REFUSED = "The file is refused."
NO_FIELD = "The collection has no such file field."
CHANGED = "The bytes that came in are not the ones that were announced."


class Hold(Protocol):
    def release(self) -> None: ...


class Part(Protocol):
    """An upload so far, as `gateway.adapters.part_store.Part` keeps it."""

    @property
    def name(self) -> PartName: ...
    @property
    def id(self) -> str: ...
    @property
    def intent(self) -> bytes: ...
    @property
    def is_done(self) -> bool: ...

    async def offset(self) -> int: ...
    async def changed(self) -> float: ...
    async def append(self, offset: int, data: bytes) -> int: ...
    async def cut(self, offset: int) -> None: ...
    async def read(self, offset: int, length: int) -> bytes: ...
    def chunks(self) -> AsyncIterator[bytes]: ...
    async def sha256(self) -> str: ...
    async def hold(self) -> Hold: ...
    async def remove(self) -> None: ...
    async def settle(self, answer: bytes) -> None: ...


class Parts(Protocol):
    async def begin(self, claim: Claim, size_bytes: int, intent: bytes) -> Part: ...
    async def take(self, claim: Claim, id: str) -> Part: ...
    async def find(self, claim: Claim, id: str) -> Part: ...
    async def turn(self, record: str) -> Hold: ...


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who uploads: `headers` are those of the connection, without a token where none is to be rolled."""

    headers: list[tuple[bytes, bytes]]
    address: str
    principal: Principal | None

    @property
    def claim(self) -> Claim:
        principal = self.principal
        if principal is None:
            return claim_of_guest(client_network(self.address))
        return claim_of_account(principal.collection_id, principal.record_id, principal.session_id)

    def is_same(self, principal: Principal | None) -> bool:
        """Is it he still, in the same session?"""
        return replace(self, principal=principal).claim == self.claim


@dataclass(slots=True)
class Transfer:
    part: Part
    intent: Intent
    field: FileField
    offset: int

    @property
    def is_whole(self) -> bool:
        return self.offset == self.intent.size


class Transfers:
    def __init__(self, parts: Parts, forwarding: Forwarding, limits: Limits, *, takes_guests: bool) -> None:
        self._parts = parts
        self._forwarding = forwarding
        self._limits = limits
        self._takes_guests = takes_guests

    async def begin(self, intent: Intent, by: Visitor) -> Transfer:
        """Raises a ServiceError for what can be refused before a byte has come in."""
        if by.principal is None and not self._takes_guests:
            raise Unauthenticated(SIGN_IN)
        intent = intent.checked()
        try:
            collection = await self._forwarding.expected(request_of(intent, by), by.principal)
        except ServiceError:
            await self.count(by)
            raise
        await self._limits.require(intent.method, intent.route(), collection.name, by.principal, by.address)
        field = field_for(intent, collection)
        intent = msgspec.structs.replace(intent, collection=collection.id)
        part = await self._parts.begin(by.claim, intent.size, written(intent))
        UPLOADS.labels("begun").inc()
        return Transfer(part, intent, field, 0)

    async def resume(self, id: str, by: Visitor) -> Transfer | Answer:
        """Whoever wrote to it before does so no more. An answer where all is done. Raises a ServiceError."""
        await self.count(by)
        part = await self._parts.take(by.claim, id)
        if part.is_done:
            return await kept_answer(part)
        intent = read(part.intent)
        collection = await self._forwarding.expected(request_of(intent, by), by.principal)
        return Transfer(part, intent, field_for(intent, collection), await part.offset())

    async def find(self, id: str, by: Visitor) -> Part:
        """To look at. Raises NotFound, TooMany."""
        await self.count(by)
        return await self._parts.find(by.claim, id)

    async def add(self, transfer: Transfer, offset: int, data: bytes) -> None:
        """Raises InvalidFields for what the bytes show already, and then nothing is left of the part; NotFound,
        TakenOver, Moved, Busy, NoRoom.
        """
        if offset != transfer.offset or offset + len(data) > transfer.intent.size:
            raise Moved
        transfer.offset = await transfer.part.append(offset, data)
        RECEIVED.inc(len(data))
        if offset < HEAD_BYTES and (error := await self._shown(transfer)):
            await transfer.part.remove()
            UPLOADS.labels("refused").inc()
            raise InvalidFields.of(REFUSED, {transfer.field.name: error})

    async def abort(self, transfer: Transfer) -> None:
        await transfer.part.remove()
        UPLOADS.labels("aborted").inc()

    async def finish(self, transfer: Transfer, by: Visitor) -> Answer:
        """Nobody else can go on with it once it is written. What may succeed later is kept, everything else is over; of
        what was written PocketBase's answer is kept for a while, for whoever is cut off before he hears it.

        Raises a ServiceError for what PocketBase was not asked for, or did not answer.
        """
        try:
            await check_whole(transfer)
            async with self._turn(transfer.intent), held(transfer.part):
                answer = await self._written(transfer, by)
                if is_final(answer.status):
                    await self._over(transfer, answer, by)
            return answer
        except ServiceError as error:
            if is_final(status_of(error)):
                await transfer.part.remove()
                UPLOADS.labels("refused").inc()
            raise

    @asynccontextmanager
    async def _turn(self, intent: Intent) -> AsyncGenerator[None]:
        """Of several files for one record each waits for the one before. Raises Busy."""
        if not intent.record:
            yield
            return
        hold = await self._parts.turn(f"{intent.collection}/{intent.record}")
        try:
            yield
        finally:
            hold.release()

    async def _written(self, transfer: Transfer, by: Visitor) -> Answer:
        intent = transfer.intent
        file = await self._file(transfer, intent.size)
        received = ReceivedBody(intent.others(), files=(file,), size_bytes=len(intent.fields))
        collected = Collected()
        await self._forwarding.write(request_of(intent, by), by.principal, received, Reply(collected.send))
        return collected.answer()

    async def _over(self, transfer: Transfer, answer: Answer, by: Visitor) -> None:
        is_written = answer.status < 300
        await (transfer.part.settle(answer.body) if is_written else transfer.part.remove())
        UPLOADS.labels("written" if is_written else "refused").inc()
        logger.info("upload", status=answer.status, bytes=transfer.intent.size, client=by.address)

    async def _shown(self, transfer: Transfer) -> FieldError | None:
        """What is wrong by the first bytes; a program is known by fewer of them than a picture."""
        file = await self._file(transfer, transfer.offset)
        is_certain = len(file.head) == HEAD_BYTES or transfer.is_whole
        error = type_error(transfer.field, file) if is_certain else None
        return error or disguised(file.filename, file.declared_type, file.head)

    async def _file(self, transfer: Transfer, size_bytes: int) -> UploadedFile:
        intent, head = transfer.intent, await transfer.part.read(0, HEAD_BYTES)
        return UploadedFile(
            intent.field, intent.name, intent.content_type, detected(head), size_bytes, head, transfer.part
        )

    async def count(self, by: Visitor) -> None:
        """A use of what costs something and writes nothing. Raises TooMany."""
        await self._limits.require("GET", LOOKED_AT, "", by.principal, by.address)


@asynccontextmanager
async def held(part: Part) -> AsyncGenerator[None]:
    """Of a session that ended meanwhile nothing is left. Raises NotFound, TakenOver, Busy."""
    hold = await part.hold()
    try:
        yield
    finally:
        hold.release()


async def check_whole(transfer: Transfer) -> None:
    """Raises Moved, and InvalidFields for other bytes than were announced."""
    intent, part = transfer.intent, transfer.part
    if await part.offset() != intent.size:
        raise Moved
    if intent.sha256 is not None and await part.sha256() != intent.sha256:
        changed = FieldError("validation_checksum_mismatch", CHANGED)
        raise InvalidFields.of(REFUSED, {transfer.field.name: changed})


def request_of(intent: Intent, by: Visitor) -> Request:
    headers = [item for item in without_body(by.headers) if not item[0].startswith(b"sec-websocket-")]
    return Request(intent.method, intent.route(), b"", by.address, [*headers, FORM])


def field_for(intent: Intent, collection: Collection) -> FileField:
    """Raises InvalidFields for a field that takes no file, or none of that size."""
    name = field_of(intent.field)
    max_bytes = accepts(collection.file_fields)(intent.field)
    if max_bytes is None:
        raise InvalidFields.of(REFUSED, {name: FieldError("validation_unknown_field", NO_FIELD)})
    if intent.size > max_bytes:
        raise InvalidFields.of(REFUSED, {name: too_large(intent.name, max_bytes)})
    return collection.file_fields[name]


def is_final(status: int) -> bool:
    """Would the same upload come to the same another time?"""
    return status < 500 and status not in (401, 408, 409, 429)


async def kept_answer(part: Part) -> Answer:
    return Answer(200, [], await part.read(0, Collected.MAX_BYTES))
