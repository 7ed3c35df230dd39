"""One request to PocketBase, end to end: who asks, what for, there and back, streamed both ways."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import NoReturn, Protocol

from common.core.errors import InvalidRequest
from gateway.core.catalogue import Collection
from gateway.core.client_address import TrustedProxies
from gateway.core.cross_origin import ALLOW_ORIGIN
from gateway.core.exchange import Upstream, UpstreamAnswer, UpstreamRequest
from gateway.core.headers import declared_length, has_body, inbound, outbound
from gateway.core.pocketbase_route import Route
from gateway.core.refusals import TooLarge, UnreadableAnswer
from gateway.identify import Caller, Callers
from gateway.receive import TOO_LARGE, ClientGone, Incoming
from gateway.reply import Reply
from gateway.sign_in import SignIns

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
    caller: Caller | None
    client_id: str


class Forwarding:
    def __init__(
        self,
        upstream: Upstream,
        collections: Collections,
        callers: Callers,
        sign_ins: SignIns,
        *,
        proxies: TrustedProxies,
        max_body_bytes: int,
    ) -> None:
        self._upstream = upstream
        self._collections = collections
        self._callers = callers
        self._sign_ins = sign_ins
        self.client_address = proxies.client_address
        self.max_body_bytes = max_body_bytes

    async def forward(self, request: Request, incoming: Incoming, reply: Reply) -> None:
        """Answers, or raises a ServiceError. Raises ClientGone, and drops the exchange, once nobody waits for it,
        Closing when an endless answer was cut short.
        """
        resolved = await self._resolve(request)
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = [tasks.create_task(incoming.watch())]
                if is_endless(request):
                    watching.append(tasks.create_task(incoming.watch_closing()))
                await self._exchange(resolved, incoming, reply)
                for task in watching:
                    task.cancel()
        except BaseExceptionGroup as faults:
            raise_cause(faults)

    async def _resolve(self, request: Request) -> Resolved:
        """Everything that can be refused is refused here, before PocketBase hears of it."""
        self._check_size(request)
        route = request.route
        collection = await self._collections.admitted(route.collection) if route.collection is not None else None
        client_id = self._sign_ins.client_id(request.headers) if route.kind == "sign-in" else ""
        return Resolved(request, collection, await self._callers.identify(request.headers), client_id)

    def _check_size(self, request: Request) -> None:
        if (declared_length(request.headers) or 0) > self.max_body_bytes:
            raise TooLarge(TOO_LARGE)
        if request.method in ("GET", "HEAD") and has_body(request.headers):
            raise InvalidRequest("This request must not have a body.")
        if len(request.query) > MAX_QUERY_BYTES or not all(0x20 < byte < 0x7F for byte in request.query):
            raise InvalidRequest("The query is overlong or not properly escaped.")

    async def _exchange(self, resolved: Resolved, incoming: Incoming, reply: Reply) -> None:
        async with self._upstream.exchange(self._to_upstream(resolved, incoming)) as answer:
            if resolved.request.route.kind == "sign-in" and answer.status == 200:
                await self._answer_sign_in(resolved, answer, reply)
                return
            headers = [*inbound(answer.headers), ALLOW_ORIGIN]
            if resolved.request.route.kind == "realtime":
                headers = [item for item in headers if item[0] != b"x-accel-buffering"]
                headers.append((b"x-accel-buffering", b"no"))
            await reply.stream(answer.status, headers, answer.chunks())

    def _to_upstream(self, resolved: Resolved, incoming: Incoming) -> UpstreamRequest:
        request, route = resolved.request, resolved.request.route
        path = route.upstream_path(resolved.collection.name if resolved.collection else None)
        headers = outbound(
            request.headers,
            client_address=self.client_address(request.peer, request.headers),
            token=resolved.caller.pocketbase_token if resolved.caller else None,
        )
        if route.kind == "sign-in":  # the answer is to be read here
            headers = [item for item in headers if item[0] != "accept-encoding"]
            headers.append(("Accept-Encoding", "identity"))
        return UpstreamRequest(
            request.method,
            f"{path}?{request.query.decode('ascii')}" if request.query else path,
            headers,
            incoming.chunks() if has_body(request.headers) else None,
            is_endless=is_endless(request),
        )

    async def _answer_sign_in(self, resolved: Resolved, answer: UpstreamAnswer, reply: Reply) -> None:
        route, collection = resolved.request.route, resolved.collection
        if collection is None:
            raise UnreadableAnswer("A sign-in without a collection.")
        body = await collected(answer.chunks())
        is_refresh = route.after == ("auth-refresh",)
        if is_refresh and resolved.caller is None:
            raise UnreadableAnswer("PocketBase refreshed a guest.")
        refreshed = resolved.caller if is_refresh else None
        swapped = await self._sign_ins.swap(body, collection, resolved.client_id, refreshed)
        headers = [item for item in inbound(answer.headers) if item[0] != b"content-length"]
        headers += [(b"content-length", str(len(swapped)).encode()), (b"cache-control", b"no-store"), ALLOW_ORIGIN]
        await reply.whole(200, headers, swapped)


def is_endless(request: Request) -> bool:
    return request.route.kind == "realtime" and request.method == "GET"


async def collected(chunks: AsyncIterator[bytes]) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > MAX_SIGN_IN_BYTES:
            raise UnreadableAnswer("PocketBase's answer is overlong.")
    return bytes(body)


def raise_cause(faults: BaseExceptionGroup[BaseException]) -> NoReturn:
    """What the client did comes before what PocketBase made of it."""
    raise min(faults.exceptions, key=lambda fault: not isinstance(fault, ClientGone | TooLarge))
