"""The tus protocol for browsers: the same uploads, by requests of HTTP.

POST begins one, HEAD tells how far it is, PATCH brings more, DELETE gives it up; GET is ours and tells PocketBase's
answer for a while.
"""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass

from common.core.errors import InvalidRequest, NotFound, ServiceError
from gateway.bodies.receive import ClientGone, Incoming
from gateway.bodies.take_in import in_time
from gateway.core.bodies.body_pace import Pace
from gateway.core.front_door.cross_origin import ALLOW_ORIGIN
from gateway.core.front_door.headers import RawHeaders, declared_length, first
from gateway.core.front_door.pocketbase_route import NOT_FOUND
from gateway.core.refusals import OtherType, WrongChecksum
from gateway.core.uploads import tus_headers
from gateway.core.uploads.part_name import Bounds, expiry
from gateway.core.uploads.transfer_refusals import Moved
from gateway.core.uploads.tus_headers import METHODS, RESUMABLE, Checksum
from gateway.reply import Reply
from gateway.uploads.collect_answer import Answer
from gateway.uploads.transfer import Part, Transfer, Transfers, Visitor, kept_answer

GATHERED_BYTES = 256 * 1024
SUCCESSOR = b"x-gateway-token"
PASSED_ON = (b"content-type", b"retry-after", SUCCESSOR)
NOT_YET = "The upload is not complete."
NO_BODY = "An upload begins without a body."


@dataclass(frozen=True, slots=True)
class TusTerms:
    bounds: Bounds
    pace: Pace
    max_bytes: int


@dataclass(frozen=True, slots=True)
class TusRequest:
    """`id` is empty for where uploads begin."""

    method: str
    id: str
    by: Visitor
    incoming: Incoming
    reply: Reply

    @property
    def headers(self) -> RawHeaders:
        return self.by.headers


class TusUploads:
    def __init__(self, transfers: Transfers, terms: TusTerms) -> None:
        self._transfers = transfers
        self._terms = terms

    async def discover(self, reply: Reply) -> None:
        await reply.whole(204, [*tus_headers.discovery(self._terms.max_bytes), ALLOW_ORIGIN])

    async def serve(self, request: TusRequest) -> None:
        """Answers, or raises a ServiceError; ClientGone once nobody waits for an answer."""
        method = tus_headers.method_of(request.method, request.headers)
        if method not in METHODS or (method == "POST") != (request.id == ""):
            raise NotFound(NOT_FOUND)
        if method != "GET":
            tus_headers.check_version(request.headers)
        match method:
            case "POST":
                await self._create(request)
            case "PATCH":
                await self._patch(request)
            case "HEAD":
                await self._tell(request, await self._transfers.find(request.id, request.by))
            case "DELETE":
                await self._delete(request)
            case _:
                await self._result(request, await self._transfers.find(request.id, request.by))

    async def _create(self, request: TusRequest) -> None:
        if not request.incoming.is_whole:
            raise InvalidRequest(NO_BODY)
        transfer = await self._transfers.begin(tus_headers.intent_of(request.headers), request.by)
        where = (b"location", f"/api/files/tus/{transfer.part.id}".encode())
        if transfer.is_whole:
            await self._finish(request, transfer, created=where)
            return
        headers = await self._progress(transfer.part, 0, transfer.intent.size)
        await request.reply.whole(201, [*headers, where, ALLOW_ORIGIN])

    async def _patch(self, request: TusRequest) -> None:
        if first(request.headers, b"content-type") != tus_headers.MEDIA_TYPE:
            raise OtherType
        offset = tus_headers.number(request.headers, b"upload-offset")
        checksum = tus_headers.checksum_of(request.headers)
        found = await self._transfers.resume(request.id, request.by)
        if isinstance(found, Answer):
            raise Moved
        if offset != found.offset or offset + (declared_length(request.headers) or 0) > found.intent.size:
            raise Moved
        await self._take(request, found, checksum)
        if found.is_whole:
            await self._finish(request, found)
            return
        headers = await self._progress(found.part, found.offset, found.intent.size)
        await request.reply.whole(204, [*headers, ALLOW_ORIGIN])

    async def _take(self, request: TusRequest, transfer: Transfer, checksum: Checksum | None) -> None:
        """What came before the connection was cut counts, unless it could not be checked. Raises WrongChecksum."""
        begun_at = transfer.offset
        found = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum else None
        is_sound = checksum is None
        try:
            async with aclosing(gathered(in_time(request.incoming.chunks(), self._terms.pace))) as pieces:
                async for piece in pieces:
                    if found:
                        found.update(piece)
                    await self._transfers.add(transfer, transfer.offset, piece)
            is_sound = checksum is None or (found is not None and found.digest() == checksum.digest)
        finally:
            if not is_sound:
                with suppress(ServiceError):
                    await transfer.part.cut(begun_at)
        if not is_sound:
            raise WrongChecksum

    async def _finish(
        self, request: TusRequest, transfer: Transfer, created: tuple[bytes, bytes] | None = None
    ) -> None:
        answer = await self._transfers.finish(transfer, request.by)
        if answer.status >= 300:
            kept = [item for item in answer.headers if item[0] in PASSED_ON]
            await request.reply.whole(answer.status, [*kept, RESUMABLE, ALLOW_ORIGIN], answer.body)
            return
        headers = tus_headers.progress(
            transfer.offset,
            length=transfer.intent.size,
            expires=transfer.part.name.began + self._terms.bounds.most_seconds,
        )
        successor = [item for item in answer.headers if item[0] == SUCCESSOR]
        told = [*headers, *successor, ALLOW_ORIGIN]
        await request.reply.whole(201 if created else 204, [*told, created] if created else told)

    async def _tell(self, request: TusRequest, part: Part) -> None:
        size = part.name.size_bytes
        offset = size if part.is_done else await part.offset()
        await request.reply.whole(200, [*await self._progress(part, offset, size), ALLOW_ORIGIN])

    async def _delete(self, request: TusRequest) -> None:
        found = await self._transfers.resume(request.id, request.by)
        if isinstance(found, Answer):
            raise NotFound(NOT_FOUND)
        await self._transfers.abort(found)
        await request.reply.whole(204, [RESUMABLE, ALLOW_ORIGIN])

    async def _result(self, request: TusRequest, part: Part) -> None:
        if not part.is_done:
            raise NotFound(NOT_YET)
        answer = await kept_answer(part)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(answer.body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await request.reply.whole(200, [*headers, ALLOW_ORIGIN], answer.body)

    async def _progress(self, part: Part, offset: int, size: int) -> list[tuple[bytes, bytes]]:
        expires = expiry(self._terms.bounds, part.name, changed=await part.changed())
        return tus_headers.progress(offset, length=size, expires=expires)


async def gathered(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """In pieces that are worth a thread; when the connection is cut, what there is comes before the error."""
    waiting = bytearray()
    try:
        async for chunk in chunks:
            waiting += chunk
            if len(waiting) >= GATHERED_BYTES:
                yield bytes(waiting)
                waiting = bytearray()
    except ClientGone:
        if waiting:
            yield bytes(waiting)
        raise
    if waiting:
        yield bytes(waiting)
