"""One request to PocketBase, end to end: who asks, what for, there and back, streamed both ways."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import NoReturn, Protocol, cast

import orjson

from common.core.errors import InvalidRequest, ServiceError
from gateway.core.account_change import Fields, account_changes, needs_fields
from gateway.core.catalogue import Collection
from gateway.core.client_address import TrustedProxies
from gateway.core.cross_origin import ALLOW_ORIGIN
from gateway.core.exchange import Upstream, UpstreamAnswer, UpstreamRequest
from gateway.core.headers import declared_length, has_body, inbound, outbound
from gateway.core.pocketbase_route import Route
from gateway.core.principal import Principal
from gateway.core.refusals import TooLarge, UnreadableAnswer
from gateway.end_sessions import Endings
from gateway.identify import Callers
from gateway.receive import TOO_LARGE, ClientGone, Incoming
from gateway.reply import Reply
from gateway.sign_in import Origin, SignIns

MAX_CONFIRMATION_BYTES = 64 * 1024
MAX_QUERY_BYTES = 32 * 1024
MAX_SIGN_IN_BYTES = 1024 * 1024


class Collections(Protocol):
    async def admitted(self, spelling: str) -> Collection: ...


@dataclass(frozen=True, slots=True)
class Request:
    """What is known of a request once it is parsed."""

    method: str
    route: Route
    query: bytes
    peer: str
    headers: list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A request that may go to PocketBase."""

    request: Request
    collection: Collection | None
    principal: Principal | None
    origin: Origin | None
    fields: Fields | None
    body: AsyncIterator[bytes] | None


class Forwarding:
    def __init__(
        self,
        upstream: Upstream,
        collections: Collections,
        callers: Callers,
        sign_ins: SignIns,
        endings: Endings,
        *,
        proxies: TrustedProxies,
        max_body_bytes: int,
    ) -> None:
        self._upstream = upstream
        self._collections = collections
        self._callers = callers
        self._sign_ins = sign_ins
        self._endings = endings
        self.client_address = proxies.client_address
        self.max_body_bytes = max_body_bytes

    async def forward(self, request: Request, incoming: Incoming, reply: Reply) -> None:
        """Answers, or raises a ServiceError. Raises ClientGone, and drops the exchange, once nobody waits for it,
        Closing when an endless answer was cut short.
        """
        resolved = await self._resolve(request, incoming)
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = [tasks.create_task(incoming.watch())]
                if is_endless(request):
                    watching.append(tasks.create_task(incoming.watch_closing()))
                await self._exchange(resolved, reply)
                for task in watching:
                    task.cancel()
        except BaseExceptionGroup as faults:
            raise_cause(faults)

    async def _resolve(self, request: Request, incoming: Incoming) -> Resolved:
        """Everything that can be refused is refused here, before PocketBase hears of it."""
        self._check_size(request)
        route, headers = request.route, request.headers
        collection = await self._collections.admitted(route.collection) if route.collection is not None else None
        address = self.client_address(request.peer, headers)
        origin = self._sign_ins.origin(headers, address, route.after[-1]) if route.kind == "sign-in" else None
        may_be_stale = route.kind in ("sign-in", "auth", "health")
        principal = await self._callers.identify(headers, address=address, may_be_stale=may_be_stale)
        chunks = incoming.chunks() if has_body(headers) else None
        if chunks is None or not needs_fields(route):
            return Resolved(request, collection, principal, origin, None, chunks)
        body = await collected(chunks, MAX_CONFIRMATION_BYTES, TooLarge(TOO_LARGE))
        return Resolved(request, collection, principal, origin, fields_in(body), whole(body))

    def _check_size(self, request: Request) -> None:
        if (declared_length(request.headers) or 0) > self.max_body_bytes:
            raise TooLarge(TOO_LARGE)
        if request.method in ("GET", "HEAD") and has_body(request.headers):
            raise InvalidRequest("This request must not have a body.")
        if len(request.query) > MAX_QUERY_BYTES or not all(0x20 < byte < 0x7F for byte in request.query):
            raise InvalidRequest("The query is overlong or not properly escaped.")

    async def _exchange(self, resolved: Resolved, reply: Reply) -> None:
        async with self._upstream.exchange(self._to_upstream(resolved)) as answer:
            await self._end_sessions(resolved, answer.status)
            if resolved.origin and answer.status == 200:
                await self._answer_sign_in(resolved, resolved.origin, answer, reply)
                return
            headers = [*inbound(answer.headers), ALLOW_ORIGIN]
            if resolved.request.route.kind == "realtime":
                headers = [item for item in headers if item[0] != b"x-accel-buffering"]
                headers.append((b"x-accel-buffering", b"no"))
            if resolved.request.route.kind == "records":
                headers += await self._sign_ins.rolled(resolved.principal, resolved.request.headers)
            await reply.stream(answer.status, headers, answer.chunks())

    async def _end_sessions(self, resolved: Resolved, status: int) -> None:
        """What PocketBase has ended, ends here before anybody is told that it was done."""
        request, collection, principal = resolved.request, resolved.collection, resolved.principal
        if collection is None:
            return
        if status < 300:
            changes = account_changes(request.method, request.route, collection, resolved.fields)
            await self._endings.follow(changes, collection)
        elif status == 401 and principal and request.route.after == ("auth-refresh",):
            await self._endings.end(principal.session_id, "refused by PocketBase", principal.owner)

    def _to_upstream(self, resolved: Resolved) -> UpstreamRequest:
        request, route = resolved.request, resolved.request.route
        path = route.upstream_path(resolved.collection.name if resolved.collection else None)
        headers = outbound(
            request.headers,
            client_address=self.client_address(request.peer, request.headers),
            token=resolved.principal.pocketbase_token if resolved.principal else None,
        )
        if route.kind == "sign-in":  # the answer is to be read here
            headers = [item for item in headers if item[0] != "accept-encoding"]
            headers.append(("Accept-Encoding", "identity"))
        return UpstreamRequest(
            request.method,
            f"{path}?{request.query.decode('ascii')}" if request.query else path,
            headers,
            resolved.body,
            is_endless=is_endless(request),
        )

    async def _answer_sign_in(self, resolved: Resolved, origin: Origin, answer: UpstreamAnswer, reply: Reply) -> None:
        route, collection = resolved.request.route, resolved.collection
        if collection is None:
            raise UnreadableAnswer("A sign-in without a collection.")
        overlong = UnreadableAnswer("PocketBase's answer is overlong.")
        body = await collected(answer.chunks(), MAX_SIGN_IN_BYTES, overlong)
        is_refresh = route.after == ("auth-refresh",)
        if is_refresh and resolved.principal is None:
            raise UnreadableAnswer("PocketBase refreshed a guest.")
        refreshed = resolved.principal if is_refresh else None
        swapped = await self._sign_ins.swap(body, collection, origin, refreshed)
        headers = [item for item in inbound(answer.headers) if item[0] != b"content-length"]
        headers += [(b"content-length", str(len(swapped)).encode()), (b"cache-control", b"no-store"), ALLOW_ORIGIN]
        await reply.whole(200, headers, swapped)


def is_endless(request: Request) -> bool:
    return request.route.kind == "realtime" and request.method == "GET"


async def collected(chunks: AsyncIterator[bytes], max_bytes: int, overlong: ServiceError) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            raise overlong
    return bytes(body)


async def whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


def fields_in(body: bytes) -> Fields | None:
    try:
        fields: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return cast(Fields, fields) if isinstance(fields, dict) else None


def raise_cause(faults: BaseExceptionGroup[BaseException]) -> NoReturn:
    """What the client did comes before what PocketBase made of it."""
    raise min(faults.exceptions, key=lambda fault: not isinstance(fault, ClientGone | TooLarge))
