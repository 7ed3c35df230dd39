"""Bodies, headers and addresses on their way through."""

import asyncio
import hashlib
import json
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.eventually import eventually
from tests.raw_http import ask_raw
from tests.servers.gateway import GatewayServer, User, gateway_server
from tests.servers.pocketbase import PocketBaseServer

NOTES = "/api/collections/notes/records"
LIMIT = 40_000_000
MEBIBYTE = 1024 * 1024


def peak_memory(process_id: int) -> int:
    status = Path(f"/proc/{process_id}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


async def test_a_large_file_goes_up_and_comes_down_without_being_held_in_memory(
    gateway: GatewayServer, client: httpx.AsyncClient, ann: User
) -> None:
    content = secrets.token_bytes(32 * MEBIBYTE)
    before = peak_memory(gateway.process_id)
    made = await client.post(
        NOTES, data={"owner": ann.id, "title": "large"}, files={"attachment": ("big.bin", content)}, headers=ann.headers
    )
    assert made.status_code == 200
    path = f"/api/files/notes/{made.json()['id']}/{made.json()['attachment']}"
    digest = hashlib.sha256()
    async with client.stream("GET", path) as answer:
        assert answer.headers["content-length"] == str(len(content))
        async for chunk in answer.aiter_raw():
            digest.update(chunk)
    assert digest.digest() == hashlib.sha256(content).digest()
    assert peak_memory(gateway.process_id) - before < 16 * MEBIBYTE
    part = await client.get(path, headers={"Range": "bytes=1000-1999"})
    assert (part.status_code, part.content) == (206, content[1000:2000])
    assert part.headers["content-range"] == f"bytes 1000-1999/{len(content)}"
    beyond = await client.get(path, headers={"Range": f"bytes={len(content)}-"})
    assert beyond.status_code == 416
    head = await client.head(path)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(content)), b"")
    same = await client.get(path, headers={"If-Modified-Since": head.headers["last-modified"]})
    assert same.status_code == 304


async def test_an_upload_that_is_given_up_leaves_no_record(
    gateway: GatewayServer, superuser: httpx.AsyncClient, client: httpx.AsyncClient, ann: User
) -> None:
    address = urlsplit(gateway.url)
    title = secrets.token_hex(8)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    body = json.dumps({"title": title, "owner": ann.id})
    writer.write(
        f"POST {NOTES} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {ann.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body[:-1]}".encode()
    )
    await writer.drain()
    writer.close()

    async def lines() -> list[dict[str, Any]]:
        read = [json.loads(line) for line in gateway.log.read_text().splitlines() if line.endswith("}")]
        return [line for line in read if line.get("reason") == "client_gone"]

    await eventually(lines)
    found = (await superuser.get(NOTES, params={"filter": f"title = '{title}'"})).json()
    assert found["totalItems"] == 0
    assert (await client.get("/api/health")).status_code == 200


async def test_a_body_that_says_it_is_too_large_is_refused_unread(gateway: GatewayServer) -> None:
    answer = await ask_raw(gateway.url, "POST", NOTES, f"Content-Length: {LIMIT + 1}")
    assert answer.status == 413
    assert json.loads(answer.body) == {"data": {}, "message": "Request entity too large.", "status": 413}
    assert "connection: close" in answer.head


async def test_a_body_that_turns_out_too_large_is_refused_on_the_way(
    guarded: PocketBaseServer, valkey_url: str
) -> None:
    with gateway_server(guarded, valkey_url, {"GATEWAY_MAX_BODY_BYTES": "1000"}) as small:
        chunked = ("Transfer-Encoding: chunked", "Content-Type: application/json")
        request = "\r\n".join([f"POST {NOTES} HTTP/1.1", "Host: localhost", "Connection: close", *chunked, "", ""])
        address = urlsplit(small.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(request.encode() + b"3e9\r\n" + b" " * 1001 + b"\r\n")
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert answer.endswith(b'"status":413}')


@asynccontextmanager
async def mirror(superuser: httpx.AsyncClient, rule: str) -> AsyncGenerator[str]:
    """A collection whose one record is listed only for requests that PocketBase sees as the rule says."""
    name = f"mirror_{secrets.token_hex(4)}"
    made = {"name": name, "type": "base", "listRule": rule}
    await superuser.post("/api/collections", json=made)
    await superuser.post(f"/api/collections/{name}/records", json={})
    try:
        yield f"/api/collections/{name}/records"
    finally:
        await superuser.delete(f"/api/collections/{name}")


FORGED_ADDRESSES = {
    "X-Real-IP": "198.51.100.1",
    "Forwarded": "for=198.51.100.1",
    "CF-Connecting-IP": "198.51.100.1",
    "True-Client-IP": "198.51.100.1",
    "X-Client-IP": "198.51.100.1",
    "Fly-Client-IP": "198.51.100.1",
    "X-Forwarded-Host": "evil.example",
    "X_Forwarded_For": "198.51.100.1",
    "X_Real_IP": "198.51.100.1",
}


async def listed(client: httpx.AsyncClient, path: str, headers: list[tuple[str, str]]) -> int:
    return (await client.get(path, headers=headers)).json()["totalItems"]


async def test_pocketbase_learns_one_address_and_only_from_the_trusted_proxy(
    superuser: httpx.AsyncClient, client: httpx.AsyncClient, guarded: PocketBaseServer, valkey_url: str
) -> None:
    none_else = " && ".join(
        f"@request.headers.{name.lower().replace('-', '_')} = ''"
        for name in FORGED_ADDRESSES
        if "forwarded_for" not in name.lower()
    )
    claimed = [
        *FORGED_ADDRESSES.items(),
        ("X-Forwarded-For", "198.51.100.1"),
        ("X-Forwarded-For", "10.1.1.1, 203.0.113.9"),
    ]
    async with mirror(superuser, f"@request.headers.x_forwarded_for = '203.0.113.9' && {none_else}") as path:
        assert await listed(client, path, claimed) == 1
    suspicious = {"GATEWAY_TRUSTED_PROXIES": "10.0.0.0/8"}
    with gateway_server(guarded, valkey_url, suspicious) as direct:
        async with (
            mirror(superuser, f"@request.headers.x_forwarded_for = '127.0.0.1' && {none_else}") as path,
            httpx.AsyncClient(base_url=direct.url) as untrusted,
        ):
            assert await listed(untrusted, path, claimed) == 1


@pytest.mark.parametrize("value", ["", "unknown", "203.0.113.9,", "203.0.113.9:1234", "'; drop"])
async def test_an_address_that_is_none_is_not_passed_on(
    superuser: httpx.AsyncClient, client: httpx.AsyncClient, value: str
) -> None:
    async with mirror(superuser, "@request.headers.x_forwarded_for = '127.0.0.1'") as path:
        assert await listed(client, path, [("X-Forwarded-For", value)]) == 1


async def test_headers_meant_for_one_hop_or_for_the_gateway_stay_here(
    superuser: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    rule = " && ".join(
        [
            "@request.headers.x_tenant = 'north'",
            "@request.headers.x_secret = ''",
            "@request.headers.authorization = ''",
            "@request.headers.proxy_authorization = ''",
            "@request.headers.x_client_id = ''",
            "@request.headers.keep_alive = ''",
        ]
    )
    headers = [
        ("X-Tenant", "north"),
        ("X-Secret", "for the proxy"),
        ("Connection", "close, X-Secret"),
        ("Keep-Alive", "timeout=5"),
        ("Authorization", "Bearer something"),
        ("Proxy-Authorization", "Basic YTpi"),
        ("X-Client-Id", "whoever"),
    ]
    async with mirror(superuser, rule) as path:
        assert await listed(client, path, headers) == 1
