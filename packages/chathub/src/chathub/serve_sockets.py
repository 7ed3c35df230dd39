"""`/ws` as plain ASGI: tens of thousands of these are open at once, and a framework's layers would be kept for each.

On stopping, newcomers are sent elsewhere, and those who are here follow one by one over some seconds: all at once they
would all come to another node at once.
"""

import asyncio
import math
import random
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

import structlog
from fastapi import Request
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from chathub.adapters.websocket import Sockets, WebSocketPeer
from chathub.admit import Doorkeeper, check_origin, observes
from chathub.catch_up import CatchUp
from chathub.converse import Conversation, Surroundings
from chathub.core.credentials import Credentials, chosen, credentials
from chathub.core.cut_off import SignIn
from chathub.core.flow import Flow
from chathub.core.hub import Hub, Member, Missed
from chathub.core.lifetime import Lifetime, Patience
from chathub.core.occupancy import Occupancy
from chathub.core.presence import User
from chathub.core.resume import Loss, read_position
from chathub.core.session import Session, Speaker
from chathub.observe import REFUSED, SOCKETS
from chathub.record import Recorder, SessionRecord
from chathub.search import ADMIN
from common.core.client_address import TrustedProxies
from common.core.errors import Forbidden, ServiceError, Unauthenticated, UpstreamUnavailable
from common.core.identity import Identity
from common.core.rate_limit_key import client_network
from common.serving.http_errors import to_response

logger = structlog.get_logger(__name__)

STEP_SECONDS = 0.05
SPREAD_MS = 1000
"""Over which the clients of one step come back."""


class Stopping(UpstreamUnavailable):
    """This node takes nobody any more."""

    code = "stopping"


@dataclass(frozen=True, slots=True)
class SocketTerms:
    max_message_length: int
    outbox_bytes: int
    frames_per_second: float
    frames_burst: int
    patience: Patience
    origins: frozenset[str]
    proxies: TrustedProxies
    drain_seconds: float


@dataclass(frozen=True, slots=True)
class Visit:
    """One connect: where it wants to go on, and whose it is. Kept for as long as the socket, so it holds little."""

    resume: str | None
    identity: Identity
    member: Member
    peer: WebSocketPeer


@dataclass(frozen=True, slots=True)
class Reception:
    """What a connect needs, by role."""

    hub: Hub
    sockets: Sockets
    doorkeeper: Doorkeeper
    occupancy: Occupancy
    catch_up: CatchUp
    around: Surroundings
    recorder: Recorder


class ServeSockets:
    def __init__(self, reception: Reception, terms: SocketTerms) -> None:
        self._to = reception
        self._terms = terms
        self._stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # that it wants to connect
        network = self._network_of(scope)
        try:
            self._arrive(network)
        except ServiceError as refusal:
            await refuse(refusal, scope, receive, send)
            return
        try:
            await self._meet(network, scope, receive, send)
        except ServiceError as refusal:
            if isinstance(refusal, Unauthenticated | Forbidden):
                self._to.occupancy.refuse(network, clock())
            await refuse(refusal, scope, receive, send)
        finally:
            self._to.occupancy.depart()

    async def drain(self) -> None:
        """Everybody is told to come again elsewhere, in no order, evenly over the window."""
        self._stopping = True
        members, sent, now = self._to.hub.members(), 0, asyncio.get_running_loop().time
        random.shuffle(members)
        begun, window = now(), max(self._terms.drain_seconds, STEP_SECONDS)
        logger.info("sending clients away", sockets=len(members), seconds=self._terms.drain_seconds)
        while sent < len(members):
            due = math.ceil(len(members) * min(1, (now() - begun) / window))
            for member in members[sent:due]:
                self._to.hub.send_away(member, random.randrange(SPREAD_MS))  # noqa: S311 - nobody guards anything by it
            sent = due
            await asyncio.sleep(STEP_SECONDS)

    def _network_of(self, scope: Scope) -> str:
        peer = scope["client"][0] if scope.get("client") else ""
        return client_network(self._terms.proxies.client_address(peer, scope["headers"]))

    def _arrive(self, network: str) -> None:
        if self._stopping:
            raise Stopping("This node stops. Connect again.")
        self._to.occupancy.arrive(network, clock())

    async def _meet(self, network: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises ServiceError for a refusal, which can only come before the upgrade."""
        try:
            visit = await self._recognised(scope)
        finally:
            self._to.occupancy.become_known(network)
        self._to.occupancy.sit(visit.member.user.id, clock())
        try:
            await self._attend(visit, scope, receive, send)
        finally:
            self._to.occupancy.rise(visit.member.user.id)

    async def _recognised(self, scope: Scope) -> Visit:
        asked = HTTPConnection(scope)
        check_origin(asked.headers.get("origin"), asked.headers.get("host"), self._terms.origins)
        identity = await self._to.doorkeeper.recognise(given(asked, scope))
        peer = self._to.sockets.peer(outbox_bytes=self._terms.outbox_bytes)
        user, sign_in = User(identity.subject, identity.username), SignIn(identity.session_id)
        member = Member(user, peer, observes(identity), sign_in=sign_in)
        return Visit(asked.query_params.get("resume"), replace(identity, claims={}), member, peer)

    async def _attend(self, visit: Visit, scope: Scope, receive: Receive, send: Send) -> None:
        """From registration to leaving."""
        self._to.hub.register(visit.member)
        try:
            await self._enter(visit, scope, receive, send)
            await self._converse(visit)
        finally:
            self._to.hub.leave(visit.member)

    async def _enter(self, visit: Visit, scope: Scope, receive: Receive, send: Send) -> None:
        """By itself, so that the history is held no longer than it takes to send it."""
        member = visit.member
        whispers = await self._to.doorkeeper.admit(member, self._to.hub)
        back = await self._back_from(visit)
        await self._refuse_late(member)
        await visit.peer.accept(scope, receive, send, chosen(scope["subprotocols"]))
        self._to.hub.enter(member, whispers, back)

    async def _converse(self, visit: Visit) -> None:
        user, node = visit.member.user, self._to.hub.roster.node
        begun = SessionRecord(uuid4(), user, visit.identity.client_id, node, datetime.now(UTC))
        self._to.recorder.add(begun)
        SOCKETS.inc()
        try:
            await Conversation(self._session(visit), visit.peer, self._to.around).run()
        finally:
            SOCKETS.dec()
            self._to.recorder.add(begun.ended(datetime.now(UTC)))

    async def _refuse_late(self, member: Member) -> None:
        """Much may have happened while others were asked."""
        await self._to.doorkeeper.refuse(member)
        if self._stopping:
            raise Stopping("This node stops. Connect again.")

    async def _back_from(self, visit: Visit) -> Missed | Loss | None:
        """None for a client that does not speak of places. Raises InvalidRequest, UpstreamUnavailable."""
        if not visit.resume:
            return None
        return await self._to.catch_up.missed(read_position(visit.resume), visit.member.user.id)

    def _session(self, visit: Visit) -> Session:
        now, terms, identity = clock(), self._terms, visit.identity
        expires_at = now + identity.expires_at - time.time()
        member, is_admin = visit.member, ADMIN in identity.roles
        speaker = Speaker(member.user, identity.client_id, is_admin, member.observer, member.sign_in)
        return Session(
            speaker,
            self._to.hub.channels,
            Lifetime(terms.patience, expires_at=expires_at, now=now),
            Flow(per_second=terms.frames_per_second, burst=terms.frames_burst, now=now),
            max_message_length=terms.max_message_length,
        )


def clock() -> float:
    return asyncio.get_running_loop().time()


def given(asked: HTTPConnection, scope: Scope) -> Credentials:
    return credentials(
        ticket=asked.query_params.get("ticket"),
        subprotocols=scope["subprotocols"],
        authorization=asked.headers.get("authorization"),
        query_token=asked.query_params.get("token"),
    )


async def refuse(refusal: ServiceError, scope: Scope, receive: Receive, send: Send) -> None:
    """As HTTP, with a reason: a WebSocket that opens only to close would look like an answer."""
    REFUSED.labels(refusal.code).inc()
    response = await to_response(Request({"type": "http"}), refusal)
    await response(scope, receive, send)
