"""Takes in one request's body: all of it is read, bounded and parsed before anybody judges it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from gateway.bodies.aside import aside
from gateway.bodies.incoming_form import NO_FILES, Expected, IncomingForm, Spool
from gateway.bodies.memory import TOO_LARGE, Memory, Share, weigh
from gateway.core.bodies import form_values, json_body
from gateway.core.bodies.body_pace import Pace
from gateway.core.bodies.media_type import MediaType
from gateway.core.bodies.record_body import ReceivedBody
from gateway.core.body_refusals import TooSlow
from gateway.core.refusals import TooLarge

TOO_SLOW = "The request body comes in too slowly."


class Intake:
    """`max_field_bytes` bounds all of one body that is not a file."""

    def __init__(self, spool: Spool, *, pace: Pace, max_field_bytes: int, max_memory_bytes: int) -> None:
        self._spool = spool
        self._pace = pace
        self._max_field_bytes = max_field_bytes
        self._memory = Memory(max_memory_bytes)

    @asynccontextmanager
    async def take_in(
        self,
        chunks: AsyncIterator[bytes],
        media: MediaType,
        expected: Expected = NO_FILES,
        *,
        declared_bytes: int | None = None,
    ) -> AsyncGenerator[ReceivedBody]:
        """The files last as long as the context. How large all of the body may be is for `chunks` to say.

        Raises MalformedBody, TooLarge, TooSlow, NoRoom, InvalidFields for a file that is too large for its field,
        and whatever `chunks` raises.
        """
        if media.kind != "multipart" and (declared_bytes or 0) > self._max_field_bytes:
            raise TooLarge(TOO_LARGE)
        share = Share(self._memory, self._max_field_bytes)
        form = IncomingForm(self._spool, share, expected)
        try:
            async with aclosing(in_time(chunks, self._pace)) as paced:
                received = await read(paced, media, form, share)
            yield received
        finally:
            form.close()
            share.give_back()


async def read(chunks: AsyncIterator[bytes], media: MediaType, form: IncomingForm, share: Share) -> ReceivedBody:
    match media.kind:
        case "none":
            return ReceivedBody()
        case "json":
            body = await whole(chunks, share)
            await weigh(body, share)
            return ReceivedBody(value=await aside(len(body), json_body.parsed, body), size_bytes=len(body))
        case "form":
            body = await whole(chunks, share)
            pairs = await aside(len(body), form_values.pairs_of, body)
            for _, value in pairs:
                await weigh(value.encode(), share)
            return ReceivedBody(pairs=pairs, size_bytes=len(body))
        case "multipart":
            return await form.read(chunks, media.boundary)


async def in_time(chunks: AsyncIterator[bytes], pace: Pace) -> AsyncGenerator[bytes]:
    """Raises TooSlow."""
    loop = asyncio.get_running_loop()
    begun, received = loop.time(), 0
    while True:
        try:
            async with asyncio.timeout_at(pace.deadline(begun, received)):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise TooSlow(TOO_SLOW) from error
        if chunk is None:
            return
        received += len(chunk)
        yield chunk


async def whole(chunks: AsyncIterator[bytes], share: Share) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        share.take(len(chunk))
        body += chunk
    return bytes(body)
