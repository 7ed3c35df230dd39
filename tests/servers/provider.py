"""An OAuth2 provider that takes every code and says who the user is; enough of OpenID Connect for PocketBase."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.servers.process import free_port


@dataclass(slots=True)
class Provider:
    port: int
    user: dict[str, Any] = field(default_factory=dict[str, Any])

    def settings(self) -> dict[str, Any]:
        """For `oauth2` of an auth collection."""
        url = f"http://127.0.0.1:{self.port}"
        oidc = {
            "name": "oidc",
            "clientId": "pocketwire",
            "clientSecret": "secret",
            "authURL": f"{url}/authorize",
            "tokenURL": f"{url}/token",
            "userInfoURL": f"{url}/user",
        }
        return {"enabled": True, "providers": [oidc]}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            (line.split(":")[1] for line in head.splitlines() if line.lower().startswith("content-length")), "0"
        )
        await reader.readexactly(int(length))
        is_token = head.split(" ")[1].startswith("/token")
        told = {"access_token": "access", "token_type": "Bearer", "expires_in": 60} if is_token else self.user
        body = orjson.dumps(told)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()


@asynccontextmanager
async def oauth2_provider() -> AsyncGenerator[Provider]:
    provider = Provider(free_port())
    server = await asyncio.start_server(provider.serve, "127.0.0.1", provider.port)
    try:
        yield provider
    finally:
        server.close()
