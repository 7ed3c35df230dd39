"""HTTP and WebSocket: decode, call, encode. Paths, names and shapes are OnRabble's."""

import time
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Depends, Query, Request, WebSocket
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from starlette.requests import HTTPConnection

from chathub import search
from chathub.adapters.websocket import WebSocketPeer
from chathub.admit import Doorkeeper, check_origin, observes
from chathub.converse import Conversation, Log, People
from chathub.core import client_frames
from chathub.core.hub import Hub, Member
from chathub.core.presence import User
from chathub.core.session import Session
from chathub.curate import Change, Curator, NewChannel
from chathub.record import FinishedSession, Recorder
from common.core.errors import ServiceError
from common.core.identity import Identity
from common.serving.http_errors import to_response

MAX_PAGE = 200
MAX_OFFSET = 100_000


@dataclass(frozen=True, slots=True)
class Limits:
    max_message_length: int
    outbox_bytes: int
    expiry_grace_seconds: float
    origins: frozenset[str]


@dataclass(frozen=True, slots=True)
class Chathub:
    """What the routes need, by role."""

    hub: Hub
    doorkeeper: Doorkeeper
    log: Log
    people: People
    messages: search.Messages
    curator: Curator
    recorder: Recorder
    discovery: Callable[[], Awaitable[dict[str, str]]]
    limits: Limits


router = APIRouter()


def chathub_of(connection: HTTPConnection) -> Chathub:
    return connection.state.chathub


def token_of(connection: HTTPConnection) -> str | None:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


async def caller(request: Request) -> Identity:
    """Raises Unauthenticated."""
    return await chathub_of(request).doorkeeper.identify(token_of(request))


Caller = Annotated[Identity, Depends(caller)]


def plain_text(value: object) -> object:
    """PostgreSQL stores neither NUL nor half a surrogate pair."""
    if isinstance(value, str) and ("\0" in value or any("\ud800" <= character <= "\udfff" for character in value)):
        raise ValueError("holds characters that cannot be stored")
    return value


Plain = BeforeValidator(plain_text)
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=24), Plain]
Description = Annotated[str, StringConstraints(strip_whitespace=True, max_length=256), Plain]
RowId = Annotated[int, Field(ge=1, le=2**63 - 1)]


class CreateChannel(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: Name
    description: Description | None = None


class ChangeChannel(BaseModel):
    """A field that is absent stays as it is; `before_id: null` moves the channel to the end."""

    model_config = ConfigDict(extra="ignore")

    id: RowId
    name: Name | None = None
    description: Description | None = None
    before_id: RowId | None = None


@router.get("/discovery")
async def discover(request: Request) -> dict[str, str]:
    return await chathub_of(request).discovery()


@router.get("/channels")
async def list_channels(request: Request, _caller: Caller) -> dict[str, Any]:
    listed = chathub_of(request).hub.channels.listed
    return {"channels": [client_frames.channel_payload(channel) for channel in listed]}


@router.post("/channels", status_code=201)
async def create_channel(request: Request, caller: Caller, body: CreateChannel) -> dict[str, str]:
    await chathub_of(request).curator.create(caller, NewChannel(body.name, body.description or None))
    return {"message": "Channel created", "name": body.name}


@router.patch("/channels")
async def change_channel(request: Request, caller: Caller, body: ChangeChannel) -> dict[str, str]:
    given = body.model_fields_set
    moves = "before_id" in given
    change = Change(
        id=body.id,
        name=body.name,
        description=body.description or None,
        describes="description" in given,
        before_id=body.before_id,
        moves=moves,
    )
    await chathub_of(request).curator.change(caller, change)
    return {"message": "Channel reordered" if moves else "Channel updated"}


@router.delete("/channels")
async def delete_channel(request: Request, caller: Caller, id: RowId, purge: bool = False) -> dict[str, str]:
    await chathub_of(request).curator.delete(caller, id, purge=purge)
    return {"message": "Channel deleted"}


class Search(BaseModel):
    channel: Annotated[list[Annotated[str, Plain]], Field(max_length=50)] = []
    keyword: Annotated[str | None, Field(max_length=200), Plain] = None
    user_id: Annotated[str | None, Field(max_length=64), Plain] = None
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 50
    offset: Annotated[int, Field(ge=0, le=MAX_OFFSET)] = 0


@router.get("/messages")
async def search_messages(request: Request, caller: Caller, asked: Annotated[Search, Query()]) -> dict[str, Any]:
    query = search.Query(asked.channel, asked.keyword or None, asked.user_id or None, asked.limit, asked.offset)
    found, has_more = await search.search(caller, query, chathub_of(request).messages)
    payload = {"messages": [asdict(message) for message in found], "has_more": has_more}
    return {"type": "message_search_result", "sender": "server", "payload": payload}


@router.websocket("/ws")
async def chat(websocket: WebSocket) -> None:
    chathub = chathub_of(websocket)
    try:
        origin, host = websocket.headers.get("origin"), websocket.headers.get("host")
        check_origin(origin, host, chathub.limits.origins)
        identity = await chathub.doorkeeper.identify(websocket.query_params.get("token") or token_of(websocket))
        peer = WebSocketPeer(websocket, outbox_bytes=chathub.limits.outbox_bytes)
        member = Member(User(identity.subject, identity.username), peer, observes(identity))
        await attend(chathub, websocket, identity, member, peer)
    except ServiceError as refusal:
        await websocket.send_denial_response(await to_response(Request({"type": "http"}), refusal))


async def attend(
    chathub: Chathub, websocket: WebSocket, identity: Identity, member: Member, peer: WebSocketPeer
) -> None:
    """From registration to leaving. Raises ServiceError for a refusal, which can only come before the upgrade."""
    chathub.hub.register(member)
    try:
        whispers = await chathub.doorkeeper.admit(member, chathub.hub)
        await websocket.accept()
        started = datetime.now(UTC)
        chathub.hub.enter(member, whispers)
        try:
            await Conversation(session_of(chathub, identity, member), peer, chathub.log, chathub.people).run()
        finally:
            finished = FinishedSession(uuid4(), member.user, identity.client_id, started, datetime.now(UTC))
            chathub.recorder.add(finished)
    finally:
        chathub.hub.leave(member)


def session_of(chathub: Chathub, identity: Identity, member: Member) -> Session:
    lifetime = identity.expires_at + chathub.limits.expiry_grace_seconds - time.time()
    return Session(
        member.user,
        chathub.hub.channels,
        deadline=get_running_loop().time() + lifetime,
        max_message_length=chathub.limits.max_message_length,
    )


def to_invalid_request(_request: Request, error: Any) -> JSONResponse:
    """FastAPI's own findings in the shape of every other error."""
    faults = [
        {"field": ".".join(str(part) for part in fault["loc"]), "message": fault["msg"]} for fault in error.errors()
    ]
    body = {"code": "invalid_request", "message": "The request is not valid.", "errors": faults}
    return JSONResponse(body, 400)
