"""Runs what an operator wrote for one request, beside the server's loop and with a deadline, to its answer."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar, cast

import structlog

from common.core.errors import ServiceError
from gateway.core.refusal_answer import status_of
from gateway.core.route_files.context import Context
from gateway.core.route_files.refusals import Misrouted, RouteFailed, RouteOverdue
from gateway.core.route_files.response import Response, head_of
from gateway.core.route_files.route_set import Endpoint
from gateway.core.route_files.schema_parts import Given, validated
from gateway.core.rule_files.journal import Journal
from gateway.core.rule_files.outcome import place_of, refusal_in, text_of
from gateway.core.rule_files.rule_set import Place
from gateway.isolate.loops import Loops
from gateway.isolate.outcome import Crowded, Overdue
from gateway.routing.database import Database

logger = structlog.get_logger(__name__)

T = TypeVar("T")

MAX_MESSAGE_CHARACTERS = 200
MAX_RESPONSE_BYTES = 64 * 1024 * 1024
FORBIDDEN = "You are not allowed to perform this request."


class RouteRunner:
    """`tells_messages` writes the text of exceptions to the log: in development only, it may quote a record."""

    def __init__(self, loops: Loops, journal: Journal, *, deadline_seconds: float, tells_messages: bool) -> None:
        self._loops = loops
        self._journal = journal
        self._deadline_seconds = deadline_seconds
        self._tells_messages = tells_messages

    async def run(self, endpoint: Endpoint, context: Context, db: Database) -> Response:
        """Middleware, schema and function under one deadline. Raises a ServiceError for everything but an answer."""
        return await self._told(endpoint, lambda: answered(endpoint, context, db))

    async def next_chunk(self, endpoint: Endpoint, chunks: Any) -> bytes | None:
        """None at the end. Raises a ServiceError."""
        return await self._told(endpoint, lambda: chunk_of(chunks))

    async def end(self, endpoint: Endpoint, chunks: Any) -> None:
        """Lets the maker of the chunks clean up. Raises a ServiceError."""
        await self._told(endpoint, lambda: closed(chunks))

    async def _told(self, endpoint: Endpoint, work: Callable[[], Awaitable[T]]) -> T:
        try:
            outcome = await self._loops.run(work, seconds=self._deadline_seconds)
        except (Overdue, Crowded) as error:
            self._blame(endpoint, error)
            raise RouteOverdue from None
        if outcome.error is None:
            return cast(T, outcome.value)
        raise self._refusal(endpoint, outcome.error) from None

    def _refusal(self, endpoint: Endpoint, error: BaseException) -> ServiceError:
        refusal = refusal_in(error, "view")
        if refusal and status_of(refusal) != 500:
            return refusal
        self._blame(endpoint, error)
        return RouteFailed()

    def _blame(self, endpoint: Endpoint, error: BaseException) -> None:
        """To the journal and the log: where, and of what kind; what it says only where that is wanted."""
        found = (place_of(error, file) for file in endpoint.files)
        place: Place = next(filter(None, found), endpoint.function.place)
        self._journal.note(endpoint.function.name, place, type(error).__name__, now=time.time())
        is_told = self._tells_messages or isinstance(error, Misrouted | Overdue)
        logger.error(
            "a route failed",
            route=f"{endpoint.method} at {endpoint.function.place}",
            place=str(place),
            error=type(error).__name__,
            message=text_of(error, max_characters=MAX_MESSAGE_CHARACTERS) if is_told else None,
        )


async def answered(endpoint: Endpoint, context: Context, db: Database) -> Response:
    for step in endpoint.middleware:
        word = await step.call(context, db)
        if word is False:
            return context.json({"data": {}, "message": FORBIDDEN, "status": 403}, 403)
        if word is not None:
            return checked(word, db)
    if not endpoint.parts.is_empty:
        metadata = context.metadata
        read = validated(endpoint.parts, Given(metadata.json, metadata.query, metadata.headers))
        context.body, context.query, context.headers = read.body, read.query, read.headers
    return checked(await endpoint.function.call(context, db), db)


def checked(response: object, db: Database) -> Response:
    """Raises Misrouted for what is no answer, and for one that would claim what was never written."""
    check_saved(db)
    head_of(response)
    answer = cast(Response, response)
    if isinstance(answer.body, bytes):
        if len(answer.body) > MAX_RESPONSE_BYTES:
            raise Misrouted("too large an answer; stream it")
        return answer
    return replace(answer, body=until_saved(answer.body, db))


def check_saved(db: Database) -> None:
    if db.queued or db.as_caller.queued:
        raise Misrouted("changes were queued and never saved; await db.save_changes()")


async def until_saved(chunks: Any, db: Database) -> AsyncGenerator[Any]:
    """A stream whose end is not told before its changes were saved. Raises Misrouted."""
    try:
        async for chunk in chunks:
            yield chunk
        check_saved(db)
    finally:
        await closed(chunks)


async def chunk_of(chunks: Any) -> bytes | None:
    """Empty ones are passed over: they would say nothing, or that all has been said."""
    async for chunk in chunks:
        encoded = chunk.encode() if isinstance(chunk, str) else chunk
        if not isinstance(encoded, bytes):
            raise Misrouted(f"a stream is made of bytes or text, not of {type(chunk).__name__}")
        if encoded:
            return encoded
    return None


async def closed(chunks: Any) -> None:
    close = getattr(chunks, "aclose", None)
    if close:
        await close()
