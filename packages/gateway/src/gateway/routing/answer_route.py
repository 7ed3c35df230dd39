"""One request to a file route, end to end: taken in, run beside the server's loop, answered."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Protocol, TypeAlias, cast

from common.core.errors import InvalidRequest, ServiceError
from common.correlation import REQUEST_ID_HEADER, outgoing
from gateway.bodies.incoming_form import Expected
from gateway.bodies.receive import TOO_LARGE, Incoming, watched
from gateway.bodies.take_in import Intake
from gateway.core.bodies.form_values import fields_of
from gateway.core.bodies.media_type import MediaType, of_request
from gateway.core.bodies.record_body import ReceivedBody
from gateway.core.front_door.headers import declared_length
from gateway.core.front_door.query import parse
from gateway.core.refusal_answer import shape
from gateway.core.refusals import TooLarge
from gateway.core.route_files.context import Context, File, Metadata
from gateway.core.route_files.refusals import RoutesNotLoaded
from gateway.core.route_files.response import Response, json_response
from gateway.core.route_files.route_path import is_reserved
from gateway.core.route_files.route_set import Endpoint, Found, RouteSet
from gateway.core.rule_files.context import readable_headers
from gateway.core.sessions.principal import Principal
from gateway.open_hearing import asker_of
from gateway.reply import Reply, with_successor
from gateway.routing.across_loops import AcrossLoops, RouteFile
from gateway.routing.database import Calls, Database
from gateway.routing.run_route import RouteRunner
from gateway.routing.services import Provider, Services, Visitor

MAX_ROUTE_FILES = 20
CLEANUP_SECONDS = 2.0
NO_METHOD = "This path does not take this method."
TOO_MANY_FILES = f"A form has at most {MAX_ROUTE_FILES} files here."

Rolled: TypeAlias = Callable[[Principal | None, list[tuple[bytes, bytes]]], Awaitable[list[tuple[bytes, bytes]]]]


class Routes(Protocol):
    @property
    def current(self) -> RouteSet: ...


@dataclass(frozen=True, slots=True)
class NoRoutes:
    """Where no folder is configured."""

    current: RouteSet = field(default_factory=RouteSet)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to a route; `calls` ask PocketBase as its caller."""

    found: Found
    method: str
    query: bytes
    path: str
    headers: list[tuple[bytes, bytes]]
    address: str
    principal: Principal | None
    calls: Calls


@dataclass(frozen=True, slots=True)
class RouteTerms:
    """`service_routes` are the templates of paths, as in `/posts/{id}`, whose database acts as the gateway itself."""

    service_routes: frozenset[str] = frozenset()
    max_body_bytes: int = 32 * 1024 * 1024
    max_batch: int = 50


class FileRoutes:
    def __init__(
        self,
        routes: Routes,
        runner: RouteRunner,
        intake: Intake,
        *,
        service: Calls,
        provider: Provider,
        rolled: Rolled,
        terms: RouteTerms,
    ) -> None:
        self._routes = routes
        self._runner = runner
        self._intake = intake
        self._service = service
        self._provider = provider
        self._rolled = rolled
        self._terms = terms

    @property
    def current(self) -> RouteSet:
        return self._routes.current

    def find(self, segments: list[str]) -> Found | None:
        """Raises RoutesNotLoaded when a file is at fault and this path might have been its own."""
        current = self._routes.current
        if current.faults and not is_reserved(segments):
            raise RoutesNotLoaded
        return current.find(segments)

    async def answer(self, asked: Asked, incoming: Incoming, reply: Reply) -> None:
        """Answers, or raises a ServiceError, ClientGone or Closing."""
        method = "GET" if asked.method == "HEAD" else asked.method
        endpoint = asked.found.route.endpoints.get(method)
        if endpoint is None:
            await refuse_method(asked.found, reply)
            return
        media = of_request(asked.method, asked.headers)
        async with self._taken_in(asked, media, incoming) as received, self._database(asked) as db:
            if method == "GET":
                async with watched(incoming):
                    response = await self._run(endpoint, asked, received, db)
            else:
                response = await self._run(endpoint, asked, received, db)
            await self._send(endpoint, asked, response, incoming, reply)

    @asynccontextmanager
    async def _taken_in(self, asked: Asked, media: MediaType, incoming: Incoming) -> AsyncGenerator[ReceivedBody]:
        limit = self._terms.max_body_bytes
        length = declared_length(asked.headers)
        incoming.bound(limit)
        if (length or 0) > limit:
            raise TooLarge(TOO_LARGE)
        expected = Expected(lambda _key: limit)
        async with self._intake.take_in(incoming.chunks(), media, expected, declared_bytes=length) as received:
            if len(received.files) > MAX_ROUTE_FILES:
                raise InvalidRequest(TOO_MANY_FILES)
            yield received

    @asynccontextmanager
    async def _database(self, asked: Asked) -> AsyncGenerator[Database]:
        """For this request and no longer, but for the moment that code which was cancelled has to clean up."""
        inside, service = AcrossLoops(asked.calls), AcrossLoops(self._service)
        db = caller = Database(inside, max_batch=self._terms.max_batch)
        if asked.found.route.pattern.template in self._terms.service_routes:
            db = Database(service, as_caller=caller, max_batch=self._terms.max_batch)
        is_answered = False
        try:
            yield db
            is_answered = True
        finally:
            for calls in (inside, service):
                asyncio.get_running_loop().call_later(0 if is_answered else CLEANUP_SECONDS, calls.end)

    async def _run(self, endpoint: Endpoint, asked: Asked, received: ReceivedBody, db: Database) -> Response:
        context = Context(
            principal=asker_of(asked.principal),
            metadata=metadata_of(asked, received),
            services=Services(self._provider, Visitor(asked.calls, asked.headers, asked.address)),
            files=files_of(received),
        )
        return await self._runner.run(endpoint, context, db)

    async def _send(
        self, endpoint: Endpoint, asked: Asked, response: Response, incoming: Incoming, reply: Reply
    ) -> None:
        headers = with_successor(response.raw_headers, await self._rolled(asked.principal, asked.headers))
        if isinstance(response.body, bytes):
            await reply.whole(response.status, headers, response.body)
            return
        try:
            if asked.method == "HEAD":
                await reply.whole(response.status, headers)
                return
            async with watched(incoming, is_endless=True):
                await reply.stream(response.status, headers, self._chunks(endpoint, response))
        finally:
            with suppress(ServiceError):
                await self._runner.end(endpoint, response.body)

    async def _chunks(self, endpoint: Endpoint, response: Response) -> AsyncIterator[bytes]:
        while (chunk := await self._runner.next_chunk(endpoint, response.body)) is not None:
            yield chunk


async def refuse_method(found: Found, reply: Reply) -> None:
    headers: dict[str, str | list[str]] = {"allow": found.route.allowed}
    answer = json_response(shape(405, NO_METHOD), 405, headers)
    reply.reason = "method"
    await reply.whole(405, answer.raw_headers, cast(bytes, answer.body))


def metadata_of(asked: Asked, received: ReceivedBody) -> Metadata:
    return Metadata(
        request_id=outgoing().get(REQUEST_ID_HEADER, ""),
        timestamp=datetime.now(UTC),
        client_address=asked.address,
        params=MappingProxyType(dict(asked.found.params)),
        query=MappingProxyType(dict(parse(asked.query).pairs)),
        headers=readable_headers(asked.headers),
        method=asked.method,
        path=asked.path,
        json=received.value if received.pairs is None else fields_of(received.pairs),
    )


def files_of(received: ReceivedBody) -> Mapping[str, tuple[File, ...]]:
    found: dict[str, tuple[File, ...]] = {}
    for file in received.files:
        found[file.key] = (*found.get(file.key, ()), RouteFile(file))
    return found
