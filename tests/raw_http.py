"""Requests exactly as written, without a client library that tidies them."""

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class RawAnswer:
    status: int
    head: str
    body: bytes


async def send_raw(url: str, request: bytes, *, seconds: float = 10) -> RawAnswer:
    """Send the bytes and read until the server closes: the request should say `Connection: close`."""
    address = urlsplit(url)
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            writer.write(request)
            await writer.drain()
            answer = await reader.read()
        finally:
            writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return RawAnswer(int(head.split(b" ")[1]), head.decode("latin-1").lower(), body)


async def ask_raw(url: str, method: str, target: str, *headers: str) -> RawAnswer:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]
    return await send_raw(url, "\r\n".join(lines).encode("latin-1"))
