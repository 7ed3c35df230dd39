"""Files over one WebSocket: several at once, up and down, each under a number that the client gives it.

What comes in is taken one message at a time, so that a client which sends more than it is asked to waits in its own
connection. What takes its time, PocketBase's answer and downloads, goes on beside it.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import orjson
import structlog
from prometheus_client import Gauge
from starlette.types import Message as Event
from starlette.types import Receive, Scope, Send

from common.core.errors import Conflict, InvalidRequest, ServiceError, Unauthenticated
from common.limiter import client_network
from common.task_group import TaskGroup
from gateway.core.front_door.headers import bearer_token
from gateway.core.refusal_answer import data_of, shape, status_of
from gateway.core.sessions.principal import Principal
from gateway.core.uploads.socket_messages import (
    MAX_CHUNK_BYTES,
    WINDOW_BYTES,
    Abort,
    Auth,
    Get,
    Message,
    Resume,
    Start,
    chunk_of,
    message_of,
    ref_of,
)
from gateway.uploads.collect_answer import Answer
from gateway.uploads.send_file import Downloads
from gateway.uploads.transfer import Transfer, Transfers, Visitor, is_final

logger = structlog.get_logger(__name__)

SOCKETS = Gauge("gateway_upload_sockets", "Connected WebSockets that files go over.")

MAX_SOCKETS = 64
"""Of one network, of the sockets that there may be."""
MAX_TRANSFERS = 16
"""That one socket may have under way."""

IDLE_SECONDS = 300.0
NORMAL, POLICY_VIOLATION, TRY_AGAIN_LATER = 1000, 1008, 1013
TOO_MANY = "The socket has as many transfers under way as it may."
OLD_NUMBER = "Each transfer needs a number above those before it."
OTHER_SESSION = "Transfers of another session are under way on this socket."
ENDED = "The session that began the transfers has ended."
BROKEN = "Something went wrong while processing your request."


class Identifying(Protocol):
    async def identify(self, headers: list[tuple[bytes, bytes]], *, address: str) -> Principal | None: ...


class SessionOver(Exception):
    """Nobody may go on with what is under way."""


@dataclass(frozen=True, slots=True)
class SocketParts:
    """What every socket needs, by role."""

    callers: Identifying
    transfers: Transfers
    downloads: Downloads


class UploadSockets:
    def __init__(self, parts: SocketParts, *, max_sockets: int) -> None:
        self._parts = parts
        self._sockets_left = max_sockets
        self._by_network: Counter[str] = Counter()

    async def serve(self, scope: Scope, receive: Receive, send: Send, *, address: str) -> None:
        """Until the connection is gone, and what PocketBase was given by then is answered."""
        await receive()
        network = client_network(address)
        if self._sockets_left == 0 or self._by_network[network] >= MAX_SOCKETS:
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER})
            return
        self._sockets_left -= 1
        self._by_network[network] += 1
        SOCKETS.inc()
        try:
            await send({"type": "websocket.accept"})
            headers = cast(list[tuple[bytes, bytes]], scope["headers"])
            conversation = Conversation(self._parts, send, headers, address)
            await conversation.run(receive)
        finally:
            self._sockets_left += 1
            self._by_network -= Counter({network: 1})
            SOCKETS.dec()


@dataclass(slots=True)
class Upload:
    """`is_leaving` is set once all of it is here and nothing more is taken."""

    transfer: Transfer
    is_leaving: bool = False


@dataclass(slots=True)
class Underway:
    uploads: dict[int, Upload] = field(default_factory=dict[int, Upload])
    downloads: dict[int, asyncio.Task[None]] = field(default_factory=dict[int, asyncio.Task[None]])
    last_ref: int = 0

    def __len__(self) -> int:
        return len(self.uploads) + len(self.downloads)

    def admit(self, ref: int) -> None:
        """Raises InvalidRequest. Numbers grow, so that bytes on their way to one transfer never reach another."""
        if ref <= self.last_ref:
            raise InvalidRequest(OLD_NUMBER)
        if len(self) >= MAX_TRANSFERS:
            raise InvalidRequest(TOO_MANY)
        self.last_ref = ref


class Conversation:
    def __init__(self, parts: SocketParts, send: Send, headers: list[tuple[bytes, bytes]], address: str) -> None:
        self._send = send
        self._callers = parts.callers
        self._transfers = parts.transfers
        self._downloads = parts.downloads
        self._token = bearer_token(headers) or ""
        self._headers = [item for item in headers if item[0] != b"authorization"]
        self._by = Visitor(self._headers, address, None)
        self._underway = Underway()
        self._is_open = True

    async def run(self, receive: Receive) -> None:
        async with TaskGroup() as tasks:
            self._tasks = tasks
            try:
                await self._sign_in(self._token)
                await self._listen(receive)
            except SessionOver:
                await self._close(POLICY_VIOLATION)
            except ServiceError as error:
                await self._refuse(0, error)
                await self._close(POLICY_VIOLATION if isinstance(error, Unauthenticated) else TRY_AGAIN_LATER)
            finally:
                self._is_open = False
                for download in self._underway.downloads.values():
                    download.cancel()

    async def _listen(self, receive: Receive) -> None:
        while True:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    event = await receive()
            except TimeoutError:
                if any(upload.is_leaving for upload in self._underway.uploads.values()) or self._underway.downloads:
                    continue
                await self._close(NORMAL)
                return
            if event["type"] == "websocket.disconnect":
                return
            await self._heed(event)

    async def _heed(self, event: Event) -> None:
        text = cast(str | None, event.get("text"))
        if text is None:
            await self._take(cast(bytes, event["bytes"]))
            return
        ref = 0
        try:
            message = message_of(text)
            ref = 0 if isinstance(message, Auth) else message.ref
            await self._obey(message)
        except ServiceError as error:
            await self._refuse(ref or ref_of(text), error)

    async def _obey(self, message: Message) -> None:
        match message:
            case Auth(token):
                await self._sign_in(token)
                await self._say("auth", 0, record=self._by.principal.record_id if self._by.principal else None)
            case Abort(ref):
                await self._abort(ref)
            case Start():
                await self._admit(message.ref)
                await self._ready(message.ref, await self._transfers.begin(message.intent(), self._by))
            case Resume(ref, id):
                await self._admit(ref)
                await self._ready(ref, await self._transfers.resume(id, self._by))
            case Get():
                await self._admit(message.ref)
                self._underway.downloads[message.ref] = self._tasks.create_task(self._download(message))

    async def _admit(self, ref: int) -> None:
        await self._check_session()
        self._underway.admit(ref)

    async def _sign_in(self, token: str) -> None:
        """Raises Conflict for another session than the one that has transfers under way, TooMany."""
        await self._transfers.count(Visitor(self._headers, self._by.address, None))
        principal = await self._identified(token)
        if len(self._underway) and not self._by.is_same(principal):
            raise Conflict(OTHER_SESSION)
        self._token, self._by = token, Visitor(self._headers, self._by.address, principal)

    async def _identified(self, token: str) -> Principal | None:
        headers = [(b"authorization", token.encode())] if token else []
        return await self._callers.identify(headers, address=self._by.address)

    async def _check_session(self) -> None:
        """Raises SessionOver once somebody who had signed in is signed out, and UpstreamUnavailable where that is not
        known; a successor of his token counts for him."""
        if self._by.principal is None:
            return
        try:
            principal = await self._identified(self._token)
        except Unauthenticated:
            principal = None
        if principal is None or not self._by.is_same(principal):
            await self._refuse(0, Unauthenticated(ENDED))
            raise SessionOver
        self._by = Visitor(self._headers, self._by.address, principal)

    async def _ready(self, ref: int, found: Transfer | Answer) -> None:
        if isinstance(found, Answer):
            await self._done(ref, found)
            return
        upload = self._underway.uploads[ref] = Upload(found)
        await self._say(
            "ready",
            ref,
            upload=found.part.id,
            offset=found.offset,
            size=found.intent.size,
            window=WINDOW_BYTES,
            chunk=MAX_CHUNK_BYTES,
        )
        self._leave_if_whole(ref, upload)

    async def _take(self, frame: bytes) -> None:
        """Bytes of what is over, or was refused, may still be under way and are passed over."""
        try:
            chunk = chunk_of(frame)
        except InvalidRequest as error:
            await self._refuse(0, error)
            return
        upload = self._underway.uploads.get(chunk.ref)
        if upload is None or upload.is_leaving:
            return
        await self._check_session()
        transfer = upload.transfer
        try:
            await self._transfers.add(transfer, chunk.offset, chunk.data)
        except ServiceError as error:
            del self._underway.uploads[chunk.ref]
            await self._refuse(chunk.ref, error)
            return
        await self._say("ack", chunk.ref, offset=transfer.offset, size=transfer.intent.size)
        self._leave_if_whole(chunk.ref, upload)

    def _leave_if_whole(self, ref: int, upload: Upload) -> None:
        if upload.transfer.is_whole:
            upload.is_leaving = True
            self._tasks.create_task(self._finish(ref, upload))

    async def _finish(self, ref: int, upload: Upload) -> None:
        async with self._guarded(ref):
            await self._say("progress", ref, stage="writing")
            answer = await self._transfers.finish(upload.transfer, self._by)
            self._underway.uploads.pop(ref, None)
            await self._done(ref, answer)
        self._underway.uploads.pop(ref, None)

    async def _download(self, wanted: Get) -> None:
        async with self._guarded(wanted.ref):
            if refused := await self._downloads.send(wanted, self._by, self._say, self._send_frame):
                await self._done(wanted.ref, refused)
        self._underway.downloads.pop(wanted.ref, None)

    @asynccontextmanager
    async def _guarded(self, ref: int) -> AsyncGenerator[None]:
        """What fails in one transfer is told of it, and is nothing to the others."""
        try:
            yield
        except ServiceError as error:
            await self._refuse(ref, error)
        except Exception:
            logger.exception("a transfer failed")
            await self._tell({"type": "error", "ref": ref, **shape(500, BROKEN), "resumable": True})

    async def _abort(self, ref: int) -> None:
        if download := self._underway.downloads.pop(ref, None):
            download.cancel()
        upload = self._underway.uploads.get(ref)
        if upload and not upload.is_leaving:
            del self._underway.uploads[ref]
            await self._transfers.abort(upload.transfer)
        await self._say("aborted", ref)

    async def _done(self, ref: int, answer: Answer) -> None:
        told = answer.value()
        if answer.status < 300:
            await self._say("done", ref, status=answer.status, record=told)
            return
        refused = told or shape(answer.status, "")
        await self._tell({"type": "error", "ref": ref, **refused, "resumable": not is_final(answer.status)})

    async def _refuse(self, ref: int, error: ServiceError) -> None:
        status = status_of(error)
        told = shape(status, str(error), data_of(error))
        await self._tell({"type": "error", "ref": ref, **told, "resumable": not is_final(status)})

    async def _say(self, type: str, ref: int, **values: Any) -> None:
        await self._tell({"type": type, **({"ref": ref} if ref else {}), **values})

    async def _tell(self, told: dict[str, Any]) -> None:
        await self._sent({"type": "websocket.send", "text": orjson.dumps(told).decode()})

    async def _send_frame(self, frame: bytes) -> None:
        await self._sent({"type": "websocket.send", "bytes": frame})

    async def _sent(self, event: Event) -> None:
        """Whoever has gone is not told."""
        if not self._is_open:
            return
        try:
            await self._send(event)
        except OSError:
            self._is_open = False

    async def _close(self, code: int) -> None:
        await self._sent({"type": "websocket.close", "code": code})
        self._is_open = False
