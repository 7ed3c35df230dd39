"""Signs somebody in who has no browser at hand: the provider's address first, and what came of it in the end.

wish | auth-methods | sign_in_url -> "url" | flows: the browser comes back | forwarding: auth-with-oauth2 -> "result"
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import msgspec
import orjson
from starlette.types import Message

from common.core.errors import InvalidRequest, ServiceError, UpstreamUnavailable
from gateway.bodies.receive import Incoming
from gateway.carry_write import collected
from gateway.core.collections.catalogue import Collection
from gateway.core.front_door.exchange import Upstream, UpstreamRequest
from gateway.core.front_door.headers import RawHeaders, outbound, without_body
from gateway.core.front_door.pocketbase_route import NOT_FOUND, Route
from gateway.core.refusal_answer import body_of
from gateway.core.refusals import UnreadableAnswer
from gateway.core.request import Request
from gateway.core.sessions.principal import Principal
from gateway.core.sessions.provider_sign_in import (
    CALLBACK_PATH,
    Provider,
    Returned,
    check_target,
    provider_of,
    sign_in_url,
)
from gateway.forward import Forwarding
from gateway.limit import Limits
from gateway.reply import Reply
from gateway.sign_in_by_provider.flows import Flow, Flows

PATIENCE_SECONDS = 300.0
HEARTBEAT_SECONDS = 20.0
MAX_METHODS_BYTES = 1024 * 1024
MAX_ANSWER_BYTES = 4 * 1024 * 1024
URL, RESULT, ERROR = "url", "result", "error"
NOBODY_CAME = "Nobody came back from the provider in time."
STOPPING = "The gateway is about to stop; please retry."
REFUSED = "The provider has refused: {}."

Told: TypeAlias = tuple[str, bytes] | None
"""An event and its JSON; None is a sign of life."""


class Wish(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"create_data": "createData", "mfa_id": "mfaId"}
):
    """`target` is where the browser is to be sent in the end."""

    provider: str
    target: str = ""
    create_data: dict[str, Any] = {}
    mfa_id: str = ""


class Collections(Protocol):
    async def admitted(self, spelling: str, unknown: str) -> Collection: ...


class Identifying(Protocol):
    async def identify(self, headers: RawHeaders, *, address: str, may_be_stale: bool) -> Principal | None: ...


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks, and is told."""

    address: str
    headers: Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class ProviderTerms:
    """The gateway's public address, and the pages that a browser may be sent to."""

    public_url: str
    targets: frozenset[str]

    @property
    def callback(self) -> str:
        return self.public_url + CALLBACK_PATH


class ProviderSignIns:
    def __init__(
        self,
        flows: Flows,
        terms: ProviderTerms,
        upstream: Upstream,
        collections: Collections,
        *,
        forwarding: Forwarding,
        limits: Limits,
        identifying: Identifying,
    ) -> None:
        self._flows = flows
        self._terms = terms
        self._upstream = upstream
        self._collections = collections
        self._forwarding = forwarding
        self._limits = limits
        self._identifying = identifying

    async def run(self, spelling: str, wish: Wish, visitor: Visitor) -> AsyncGenerator[Told]:
        """First the provider's address, in the end the result or an error. Raises a ServiceError before the first."""
        check_target(wish.target, self._terms.targets)
        collection = await self._collections.admitted(spelling, NOT_FOUND)
        route = Route("sign-in", ("collections",), collection.name, ("auth-with-oauth2",))
        await self._limits.require("POST", route, collection.name, None, visitor.address)
        provider = provider_of(await self._methods(collection, visitor), wish.provider)
        flow = self._flows.open(visitor.address, wish.target)
        try:
            url = sign_in_url(provider, state=flow.state, callback=self._terms.callback)
            yield URL, orjson.dumps({"url": url, "seconds": int(PATIENCE_SECONDS)})
            async for _ in until_back(flow):
                yield None
            yield await self._result(route, provider, flow, wish, visitor)
        finally:
            self._flows.close(flow)

    async def _methods(self, collection: Collection, visitor: Visitor) -> Mapping[str, Any]:
        """PocketBase's, asked as the visitor. Raises UpstreamUnavailable, UnreadableAnswer."""
        headers = [*outbound([], client_address=visitor.address, token=None), ("Accept-Encoding", "identity")]
        target = f"/api/collections/{collection.name}/auth-methods?fields=oauth2"
        async with self._upstream.exchange(UpstreamRequest("GET", target, headers, None)) as answer:
            unread = UnreadableAnswer("PocketBase does not tell how to sign in.")
            body = await collected(answer.chunks(), MAX_METHODS_BYTES, unread)
            if answer.status != 200:
                raise unread
        return orjson.loads(body)

    async def _result(self, route: Route, provider: Provider, flow: Flow, wish: Wish, visitor: Visitor) -> Told:
        try:
            code = code_of(flow)
            fields = {"provider": provider.name, "code": code, "codeVerifier": provider.verifier}
            fields |= {"redirectURL": self._terms.callback}
            more = {"createData": wish.create_data, "mfaId": wish.mfa_id}
            body = orjson.dumps({**fields, **{name: value for name, value in more.items() if value}})
            principal = await self._identifying.identify(visitor.headers, address=visitor.address, may_be_stale=True)
            return await self._exchanged(asked(route, visitor, body), principal, body)
        except ServiceError as error:
            return ERROR, body_of(error)

    async def _exchanged(self, request: Request, principal: Principal | None, body: bytes) -> Told:
        """As any sign-in: rules are asked, and the token is one of ours."""
        answer = Answer()
        incoming = Incoming(once(body), asyncio.Event(), has_body=True, max_bytes=len(body))
        await self._forwarding.forward(request, principal, incoming, Reply(answer.send))
        return RESULT if answer.status == 200 else ERROR, bytes(answer.body)


async def until_back(flow: Flow) -> AsyncGenerator[None]:
    """Signs of life until somebody is back, or it is too late."""
    ends = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while (left := ends - asyncio.get_running_loop().time()) > 0:
        await asyncio.wait([flow.returned], timeout=min(left, HEARTBEAT_SECONDS))
        if flow.returned.done():
            return
        yield


def code_of(flow: Flow) -> str:
    """Raises InvalidRequest, UpstreamUnavailable."""
    if flow.returned.cancelled():
        raise UpstreamUnavailable(STOPPING)
    if not flow.returned.done():
        raise InvalidRequest(NOBODY_CAME)
    returned: Returned = flow.returned.result()
    if returned.error or not returned.code:
        raise InvalidRequest(REFUSED.format(returned.error[:100] or "there is no code"))
    return returned.code


def asked(route: Route, visitor: Visitor, body: bytes) -> Request:
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    kept = [item for item in without_body(visitor.headers) if item[0] not in (b"accept-encoding", b"accept")]
    return Request("POST", route, b"", visitor.address, [*kept, *own])


def once(body: bytes) -> Any:
    """An ASGI `receive` of one body; nobody ever leaves."""
    told = [body]

    async def receive() -> Message:
        if told:
            return {"type": "http.request", "body": told.pop(), "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError

    return receive


class Answer:
    """An ASGI `send` that keeps what it is sent."""

    def __init__(self) -> None:
        self.status = 0
        self.body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message.get("body", b"")
            if len(self.body) > MAX_ANSWER_BYTES:
                raise UnreadableAnswer("PocketBase's answer is overlong.")
