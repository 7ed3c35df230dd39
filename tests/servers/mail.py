"""A mail server that takes everything and keeps it; it speaks as much SMTP (RFC 5321) as PocketBase needs."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import cast

from tests.servers.process import free_port

ANSWERS = {"EHLO": "250 localhost", "HELO": "250 localhost", "DATA": "354 go on", "QUIT": "221 bye"}


class MailServer:
    def __init__(self, port: int) -> None:
        self.port = port
        self.messages: asyncio.Queue[EmailMessage] = asyncio.Queue()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 localhost\r\n")
        while line := (await reader.readline()).decode().strip():
            verb = line.split(" ")[0].upper()
            writer.write(f"{ANSWERS.get(verb, '250 ok')}\r\n".encode())
            if verb == "DATA":
                content = await reader.readuntil(b"\r\n.\r\n")
                message = message_from_bytes(content.removesuffix(b".\r\n"), policy=policy.default)
                self.messages.put_nowait(message)
                writer.write(b"250 taken\r\n")
            if verb == "QUIT":
                break
        writer.close()

    async def text(self) -> str:
        """The next message's HTML."""
        message = await asyncio.wait_for(self.messages.get(), 10)
        body = message.get_body(("html", "plain"))
        assert body
        return cast(str, body.get_content())


@asynccontextmanager
async def mail_server() -> AsyncGenerator[MailServer]:
    mail = MailServer(free_port())
    server = await asyncio.start_server(mail.serve, "127.0.0.1", mail.port)
    try:
        yield mail
    finally:
        server.close()


@asynccontextmanager
async def mailbox(mail: MailServer, *, once: Callable[[], Awaitable[object]]) -> AsyncGenerator[str]:
    """The URL where processes read the mail: every request is answered with the next message, `once` that is done."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = (await mail.text()).encode()
        await once()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    port = free_port()
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.close()
