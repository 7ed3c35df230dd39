"""One request to PocketBase: who asks, what for, and on to what carries it there and back."""

from collections.abc import Iterable
from typing import Protocol

from common.core.client_address import TrustedProxies
from common.core.errors import InvalidRequest, ServiceError
from gateway.bodies.receive import TOO_LARGE, Incoming
from gateway.carry_batch import Batches
from gateway.carry_read import RecordReads
from gateway.carry_sign_in import SignInCalls
from gateway.carry_subscription import Subscriptions
from gateway.carry_write import ACTIONS, RecordWrites, canonical_query
from gateway.core.bodies.media_type import of_request
from gateway.core.bodies.record_body import ReceivedBody
from gateway.core.body_refusals import TooSlow
from gateway.core.collections.catalogue import Collection, unknown_to
from gateway.core.front_door.headers import declared_length
from gateway.core.front_door.query import MAX_QUERY_BYTES, parse
from gateway.core.refusals import TooLarge
from gateway.core.request import Call, Request
from gateway.core.sessions.principal import Principal
from gateway.pass_on import Passing
from gateway.reply import Reply

__all__ = ["Forwarding", "Request"]

NO_COLLECTION = "The request is for no collection."


class Collections(Protocol):
    async def admitted(self, spelling: str, unknown: str) -> Collection: ...


class Forwarding:
    def __init__(
        self,
        collections: Collections,
        *,
        reads: RecordReads,
        writes: RecordWrites,
        batches: Batches,
        sign_ins: SignInCalls,
        subscriptions: Subscriptions,
        passing: Passing,
        proxies: TrustedProxies,
        max_body_bytes: int,
    ) -> None:
        self._collections = collections
        self._reads = reads
        self._writes = writes
        self._batches = batches
        self._sign_ins = sign_ins
        self._subscriptions = subscriptions
        self._passing = passing
        self.client_address = proxies.client_address
        self.max_body_bytes = max_body_bytes

    async def forward(self, request: Request, principal: Principal | None, incoming: Incoming, reply: Reply) -> None:
        """Answers, or raises a ServiceError. Raises ClientGone once nobody waits for an answer, Closing when an endless
        one was cut short.
        """
        try:
            await self._carried(await self._resolved(request, principal), incoming, reply)
        except ServiceError as error:
            is_worth_waiting = not incoming.is_whole and not isinstance(error, TooSlow)
            reply.unread = incoming if is_worth_waiting else None
            raise

    async def expected(self, request: Request, principal: Principal | None) -> Collection:
        """The collection that a request means. Raises a ServiceError for what is refused before its body is there."""
        call = await self._resolved(request, principal)
        if call.collection is None:
            raise InvalidRequest(NO_COLLECTION)
        return call.collection

    async def write(self, request: Request, principal: Principal | None, received: ReceivedBody, reply: Reply) -> None:
        """Write a record whose body is here already. Answers, or raises a ServiceError."""
        call = await self._resolved(request, principal)
        if call.collection is None:
            raise InvalidRequest(NO_COLLECTION)
        await self._writes.write(call, call.collection, received, reply)

    def check_topics(self, topics: Iterable[str]) -> None:
        """Raises a ServiceError for what may not be subscribed to."""
        self._subscriptions.check(topics)

    async def _carried(self, call: Call, incoming: Incoming, reply: Reply) -> None:
        match call.request.route.kind, call.collection:
            case "batch", _:
                await self._batches.carry(call, incoming, reply)
            case "records", Collection() as collection if call.request.method in ACTIONS:
                await self._writes.carry(call, collection, incoming, reply)
            case "records", Collection() as collection:
                await self._reads.carry(call, collection, incoming, reply)
            case "sign-in", Collection() as collection:
                await self._sign_ins.carry(call, collection, incoming, reply)
            case "realtime", _ if not call.request.is_read:
                await self._subscriptions.carry(call, incoming, reply)
            case _:
                await self._passing.pass_on(call, incoming, reply)

    async def _resolved(self, request: Request, principal: Principal | None) -> Call:
        """What can be refused unread is refused here."""
        self._check_size(request)
        media, query = of_request(request.method, request.headers), parse(request.query)
        spelling, unknown = request.route.collection, unknown_to(request.method, request.route.kind)
        collection = await self._collections.admitted(spelling, unknown) if spelling is not None else None
        return canonical_query(Call(request, media, query, collection, principal))

    def _check_size(self, request: Request) -> None:
        if (declared_length(request.headers) or 0) > self.max_body_bytes:
            raise TooLarge(TOO_LARGE)
        if len(request.query) > MAX_QUERY_BYTES or not all(0x20 < byte < 0x7F for byte in request.query):
            raise InvalidRequest("The query is overlong or not properly escaped.")
