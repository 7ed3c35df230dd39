"""The public listener in plain ASGI: PocketBase's routes are forwarded or refused, all else goes to FastAPI."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from common.core.errors import ServiceError, UpstreamUnavailable
from gateway.bodies.receive import ClientGone, Closing, Incoming
from gateway.core.front_door.cross_origin import preflight
from gateway.core.front_door.headers import check_host, has_body
from gateway.core.front_door.limits import action_of
from gateway.core.front_door.pocketbase_route import Route, find
from gateway.core.sessions.principal import Principal
from gateway.forward import Forwarding, Request
from gateway.limit import Limits, TooMany
from gateway.observe import Sampling, operations, tell
from gateway.reads.aim import Ask
from gateway.reads.answer import Hit, Reads
from gateway.reply import Reply

logger = structlog.get_logger(__name__)

LOCAL_PEER = "127.0.0.1"  # a peer without an address is one on this machine

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

    def close(self) -> None:
        """Ends what would not end by itself; everything else may finish."""
        self._closing.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                if scope["method"] == "GET" and await self._at_once(scope, send):
                    return
                await self._visited(Visit(scope, receive, Reply(send), address_of(scope)))
            case "websocket":
                await send({"type": "websocket.close", "code": 1008})
            case _:
                await self._routed(scope, receive, send)

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
        if visit.method == "OPTIONS":
            visit.kind = "preflight"
            await visit.reply.whole(204, preflight(visit.headers))
        elif route := find(visit.method, visit.raw_path):
            visit.kind = route.kind
            await self._forwarded(visit, route)
        else:
            visit.kind = "local"
            await limits_of(visit.scope).require_default(visit.address)
            await self._routed(visit.scope, visit.receive, visit.reply.send)

    async def _forwarded(self, visit: Visit, route: Route) -> None:
        forwarding = forwarding_of(visit.scope)
        query: bytes = visit.scope["query_string"]
        is_bodied = has_body(visit.headers)
        incoming = Incoming(visit.receive, self._closing, has_body=is_bodied, max_bytes=forwarding.max_body_bytes)
        request = Request(visit.method, route, query, visit.address, visit.headers)
        principal = await self._limited(visit, route)

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
        """The caller, once he was counted. Raises TooMany."""
        reads = reads_of(visit.scope)
        may_be_stale = route.kind in ("sign-in", "auth", "health")
        principal = await reads.identify(visit.headers, visit.address, may_be_stale=may_be_stale)
        collection = reads.canonical(route.collection)
        await limits_of(visit.scope).require(visit.method, route, collection, principal, visit.address)
        return principal


def forwarding_of(scope: Scope) -> Forwarding:
    return scope["state"]["forwarding"]


def address_of(scope: Scope) -> str:
    client: tuple[str, int] | None = scope.get("client")
    return forwarding_of(scope).client_address(client[0] if client else LOCAL_PEER, scope["headers"])


def reads_of(scope: Scope) -> Reads:
    return scope["state"]["reads"]


def limits_of(scope: Scope) -> Limits:
    return scope["state"]["limits"]


def hit_told(hit: Hit) -> None:
    place = hit.aimed.place
    logger.info("answered from memory", collection=place.collection.name, action=place.kind, status=hit.status)
