"""The public listener in plain ASGI: PocketBase's routes are forwarded or refused, all else goes to FastAPI."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from common.core.errors import ServiceError, UpstreamUnavailable
from gateway.bodies.receive import ClientGone, Closing, Incoming
from gateway.core.body_refusals import TooSlow
from gateway.core.front_door.cross_origin import preflight
from gateway.core.front_door.headers import check_host, first, has_body
from gateway.core.front_door.limits import action_of
from gateway.core.front_door.pocketbase_route import Route, find
from gateway.core.front_door.request_path import segments_of
from gateway.core.realtime.caller import Caller, caller_of
from gateway.core.route_files.route_set import Found
from gateway.core.sessions.principal import Principal
from gateway.core.uploads.tus_headers import upload_of
from gateway.forward import Forwarding, Request
from gateway.limit import Limits, TooMany
from gateway.observe import Sampling, operations, tell
from gateway.reads.aim import Ask
from gateway.reads.answer import Hit, Reads
from gateway.realtime.serve_socket import TRY_AGAIN_LATER
from gateway.realtime.serve_stream import Streams
from gateway.reply import Reply
from gateway.routing.answer_route import Asked, FileRoutes
from gateway.routing.ask_inside import ADMITTED, Admitted, InsideCalls
from gateway.uploads.serve_tus import TusRequest
from gateway.uploads.transfer import Visitor
from gateway.uploads.uploads import Uploads

logger = structlog.get_logger(__name__)

LOCAL_PEER = "127.0.0.1"  # a peer without an address is one on this machine

SOCKET_PATH = b"/api/realtime/ws"
FILES_SOCKET_PATH = b"/api/files/ws"
BY_PROVIDER = re.compile(rb"/auth/oauth2/\w{1,255}/ws", re.ASCII)
REALTIME = Route("realtime", ("realtime",), None, ())
POLICY_VIOLATION = 1008
STOPPING = "The gateway is about to stop; please retry."


class BrokenGateway(ServiceError):
    """Something went wrong while processing your request."""


@dataclass(slots=True)
class Visit:
    """One request on its way; `address` is the client's, `kind` is found out while it is handled."""

    scope: Scope
    receive: Receive
    reply: Reply
    address: str
    kind: str = "refused"

    @property
    def method(self) -> str:
        return self.scope["method"]

    @property
    def raw_path(self) -> bytes:
        return cast(bytes, self.scope["raw_path"])

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return self.scope["headers"]


class Admission:
    """Takes a Forwarding from `scope["state"]["forwarding"]`, where the lifespan has put it."""

    def __init__(self, routed: ASGIApp, sampling: Sampling) -> None:
        self._routed = routed
        self._sampling = sampling
        self._closing = asyncio.Event()
        self._streams: Streams | None = None

    def open(self, streams: Streams | None) -> None:
        """Serve those streams from now on; without them, PocketBase's."""
        self._streams = streams

    def close(self) -> None:
        """Ends what would not end by itself; everything else may finish."""
        self._closing.set()
        if self._streams:
            self._streams.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                if scope["method"] == "GET" and ADMITTED not in scope and await self._at_once(scope, send):
                    return
                await self._visited(Visit(scope, receive, Reply(send), address_of(scope)))
            case "websocket":
                await self._socketed(scope, receive, send)
            case _:
                await self._routed(scope, receive, send)

    async def _socketed(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["raw_path"] == FILES_SOCKET_PATH:
            await uploads_of(scope).sockets.serve(scope, receive, send, address=address_of(scope))
            return
        if BY_PROVIDER.fullmatch(scope["raw_path"]):
            if await self._counted_socket(limits_of(scope).require_default(address_of(scope)), send):
                await self._routed(scope, receive, send)
            return
        is_here = scope["raw_path"] == SOCKET_PATH and self._streams is not None
        if self._streams is None or not is_here or not self._streams.is_current:
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER if is_here else POLICY_VIOLATION})
            return
        address = address_of(scope)
        if await self._counted_socket(limits_of(scope).require("GET", REALTIME, "", None, address), send):
            await self._streams.sockets.serve(scope, receive, send, address=address, wishing=Wishes(scope))

    async def _counted_socket(self, counting: Awaitable[None], send: Send) -> bool:
        """As the request that it begins with; whoever is refused is told to come again later."""
        try:
            await counting
        except ServiceError:
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER})
            return False
        return True

    async def _at_once(self, scope: Scope, send: Send) -> bool:
        """Whether the request was a read whose answer was at hand."""
        try:
            hit = reads_of(scope).hit(scope)
        except TooMany:  # to be told on the long way
            return False
        if hit is None:
            return False
        hit.aimed.count("HIT")
        if self._sampling.is_due():
            hit_told(hit)
        await send({"type": "http.response.start", "status": hit.status, "headers": hit.headers})
        await send({"type": "http.response.body", "body": hit.body})
        return True

    async def _visited(self, visit: Visit) -> None:
        begun = time.perf_counter()
        try:
            await self._answered(visit)
        finally:
            tell(
                route=visit.kind,
                method=visit.method,
                raw_path=visit.raw_path,
                status=visit.reply.status,
                reason=visit.reply.reason,
                seconds=time.perf_counter() - begun,
                client=visit.address,
                is_sampled=visit.method == "GET" and self._sampling.is_due(),
            )

    async def _answered(self, visit: Visit) -> None:
        """An answer that has begun cannot be refused any more: it is left incomplete, and the server cuts it off."""
        try:
            await self._handled(visit)
        except ClientGone:
            visit.reply.reason = "client_gone"
        except Closing:
            visit.reply.reason = "closing"
            await (visit.reply.end() if visit.reply.has_begun else visit.reply.refuse(UpstreamUnavailable(STOPPING)))
        except ServiceError as error:
            visit.reply.reason = f"cut off: {error.code}"
            if not visit.reply.has_begun:
                await visit.reply.refuse(error)
        except Exception:
            logger.exception("a request failed", route=visit.kind)
            if not visit.reply.has_begun:
                await visit.reply.refuse(BrokenGateway(BrokenGateway.__doc__))

    async def _handled(self, visit: Visit) -> None:
        check_host(visit.headers)
        upload_id = upload_of(visit.raw_path)
        if visit.method == "OPTIONS":
            await self._preflight(visit, is_tus=upload_id is not None)
        elif upload_id is not None:
            visit.kind = "upload"
            await self._uploaded(visit, upload_id)
        elif route := find(visit.method, visit.raw_path):
            visit.kind = route.kind
            await self._forwarded(visit, route)
        elif found := file_routes_of(visit.scope).find(segments_of(visit.raw_path)):
            visit.kind = "file-route"
            await self._routed_by_file(visit, found)
        else:
            visit.kind = "local"
            await limits_of(visit.scope).require_default(visit.address)
            await self._routed(visit.scope, visit.receive, visit.reply.send)

    async def _routed_by_file(self, visit: Visit, found: Found) -> None:
        principal = await reads_of(visit.scope).identify(visit.headers, visit.address, may_be_stale=False)
        await limits_of(visit.scope).require_route(found.route.pattern.limit_name, principal, visit.address)
        routes = file_routes_of(visit.scope)
        is_bodied = has_body(visit.headers)
        incoming = Incoming(
            visit.receive, self._closing, has_body=is_bodied, max_bytes=forwarding_of(visit.scope).max_body_bytes
        )
        asked = Asked(
            found,
            visit.method,
            visit.scope["query_string"],
            visit.raw_path.decode("latin-1"),
            visit.headers,
            visit.address,
            principal,
            InsideCalls(self, visit.scope, principal, visit.address),
        )
        try:
            await routes.answer(asked, incoming, visit.reply)
        except ServiceError as error:
            is_worth_waiting = not incoming.is_whole and not isinstance(error, TooSlow)
            visit.reply.unread = incoming if is_worth_waiting else None
            raise

    async def _preflight(self, visit: Visit, *, is_tus: bool) -> None:
        visit.kind = "preflight"
        if is_tus and first(visit.headers, b"access-control-request-method") is None:
            await uploads_of(visit.scope).tus.discover(visit.reply)
        else:
            await visit.reply.whole(204, preflight(visit.headers))

    async def _uploaded(self, visit: Visit, upload_id: str) -> None:
        is_bodied = has_body(visit.headers)
        max_bytes = forwarding_of(visit.scope).max_body_bytes
        incoming = Incoming(visit.receive, self._closing, has_body=is_bodied, max_bytes=max_bytes)
        principal = await reads_of(visit.scope).identify(visit.headers, visit.address, may_be_stale=False)
        by = Visitor(visit.headers, visit.address, principal)
        try:
            await uploads_of(visit.scope).tus.serve(TusRequest(visit.method, upload_id, by, incoming, visit.reply))
        except ServiceError:
            visit.reply.unread = None if incoming.is_whole else incoming
            raise

    async def _forwarded(self, visit: Visit, route: Route) -> None:
        forwarding = forwarding_of(visit.scope)
        query: bytes = visit.scope["query_string"]
        is_bodied = has_body(visit.headers)
        incoming = Incoming(visit.receive, self._closing, has_body=is_bodied, max_bytes=forwarding.max_body_bytes)
        request = Request(visit.method, route, query, visit.address, visit.headers)
        principal = await self._limited(visit, route)
        if route.kind == "realtime" and visit.method == "GET" and self._streams and self._streams.is_current:
            await self._streams.serve(visit.scope, visit.receive, visit.reply, visit.address)
            return

        async def otherwise() -> None:
            await forwarding.forward(request, principal, incoming, visit.reply)

        if route.kind not in ("records", "file") or visit.method != "GET" or is_bodied:
            await self._counted(visit, route, otherwise)
            return
        ask = Ask(route, visit.raw_path, query, visit.headers, visit.address, principal)
        await reads_of(visit.scope).answer(ask, visit.reply, otherwise, incoming)

    async def _counted(self, visit: Visit, route: Route, otherwise: Callable[[], Awaitable[None]]) -> None:
        """Refusals that come as errors are in the counts by status already."""
        await otherwise()
        if route.collection is not None:
            collection = reads_of(visit.scope).canonical(route.collection)
            action = action_of(visit.method, route)
            operations(collection, action, "nobody", f"{visit.reply.status // 100}xx").inc()

    async def _limited(self, visit: Visit, route: Route) -> Principal | None:
        """The caller, once he was counted. Raises SessionEnded, TooMany."""
        reads = reads_of(visit.scope)
        may_be_stale = route.kind in ("sign-in", "auth", "health")
        admitted: Admitted | None = visit.scope.get(ADMITTED)
        if admitted:
            principal = await reads.again(admitted.principal, admitted.token, visit.address)
        else:
            principal = await reads.identify(visit.headers, visit.address, may_be_stale=may_be_stale)
        collection = reads.canonical(route.collection)
        await limits_of(visit.scope).require(visit.method, route, collection, principal, visit.address)
        return principal


class Wishes:
    """What is said on a socket goes the way of a request."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def caller(self, token: str, address: str) -> Caller | None:
        headers = [(b"authorization", token.encode())] if token else []
        principal = await reads_of(self._scope).identify(headers, address, may_be_stale=False)
        await limits_of(self._scope).require("POST", REALTIME, "", principal, address)
        return caller_of(principal)

    def check(self, topics: list[str]) -> None:
        forwarding_of(self._scope).check_topics(topics)


def forwarding_of(scope: Scope) -> Forwarding:
    return scope["state"]["forwarding"]


def address_of(scope: Scope) -> str:
    client: tuple[str, int] | None = scope.get("client")
    return forwarding_of(scope).client_address(client[0] if client else LOCAL_PEER, scope["headers"])


def reads_of(scope: Scope) -> Reads:
    return scope["state"]["reads"]


def file_routes_of(scope: Scope) -> FileRoutes:
    return scope["state"]["file_routes"]


def uploads_of(scope: Scope) -> Uploads:
    return scope["state"]["uploads"]


def limits_of(scope: Scope) -> Limits:
    return scope["state"]["limits"]


def hit_told(hit: Hit) -> None:
    place = hit.aimed.place
    logger.info("answered from memory", collection=place.collection.name, action=place.kind, status=hit.status)
