"""A chat client that remembers all it was sent."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from websockets.asyncio.client import ClientConnection, connect

Frame: TypeAlias = dict[str, Any]

PATIENCE_SECONDS = 10


class ChatClient:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.heard: list[Frame] = []

    async def send(self, **frame: Any) -> None:
        await self.socket.send(json.dumps(frame))

    async def say(self, message: str, channel: str = "general", **more: Any) -> None:
        await self.send(type="chat_message", channel=channel, message=message, **more)

    async def whisper(self, recipient_id: str, message: str, **more: Any) -> None:
        await self.send(type="private_chat_message", recipient_id=recipient_id, message=message, **more)

    async def next(self) -> Frame:
        async with asyncio.timeout(PATIENCE_SECONDS):
            frame: Frame = json.loads(await self.socket.recv())
        self.heard.append(frame)
        return frame

    async def until(self, type: str, holds: Callable[[Any], bool] = lambda _: True) -> Any:
        """The payload of the first frame of that type, heard already or to come, for which `holds`."""
        for frame in self.heard:
            if frame["type"] == type and holds(frame["payload"]):
                return frame["payload"]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                frame = await self.next()
                if frame["type"] == type and holds(frame["payload"]):
                    return frame["payload"]

    async def hear(self, message: str, type: str = "chat_message") -> Any:
        return await self.until(type, lambda payload: payload["message"] == message)

    async def acked(self, client_msg_id: str) -> int:
        payload = await self.until("ack", lambda payload: payload["client_msg_id"] == client_msg_id)
        return payload["cacheID"]

    def place(self) -> str:
        """Where it stands, to resume from there."""
        epoch, sequence = "", 0
        for frame in self.heard:
            payload = frame["payload"]
            match frame["type"]:
                case "resumed":
                    epoch, sequence = payload["epoch"], max(sequence, payload["cacheID"])
                case "chat_message" | "private_chat_message":
                    sequence = payload["cacheID"]
                case "message_edited" | "message_deleted":
                    sequence = payload["sequence"]
                case _:
                    pass
        return f"{epoch}.{sequence}"

    def messages(self) -> list[tuple[int, str]]:
        """Public messages in the order in which they came, history first."""
        found: list[tuple[int, str]] = []
        for frame in self.heard:
            payload = frame["payload"]
            if frame["type"] == "bulk_chat_messages":
                found += [(message["cacheID"], message["message"]) for message in payload["messages"]]
            elif frame["type"] == "chat_message":
                found.append((payload["cacheID"], payload["message"]))
        return found


@asynccontextmanager
async def chatting(url: str, token: str | None, *, resume: str = "", **more: Any) -> AsyncGenerator[ChatClient]:
    """Connected and welcomed: `connected_users` is the last frame of a welcome. What nobody reads is taken in all the
    same, or the word that the socket is closed would wait behind it."""
    asked = [f"token={token}" if token else "", f"resume={resume}" if resume else ""]
    query = "".join(f"{mark}{part}" for mark, part in zip("?&", filter(None, asked), strict=False))
    async with connect(f"{url}{query}", proxy=None, max_queue=None, **more) as socket:
        client = ChatClient(socket)
        await client.until("connected_users")
        yield client
