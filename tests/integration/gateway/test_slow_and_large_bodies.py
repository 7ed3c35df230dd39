"""Clients who send a byte now and then, and clients who send a gigabyte, cost the others nothing."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.bodies import BOUNDARY, MEBIBYTE, MULTIPART, file
from tests.eventually import eventually
from tests.servers.gateway import GatewayServer, gateway_server
from tests.servers.pocketbase import PocketBaseServer
from tests.thorough import times

LARGE = "/api/collections/large/records"
SLOW_CLIENTS = 500
GRACE_SECONDS = 3.0
LARGE_MEBIBYTES = times(256, 1024)


@pytest.fixture(scope="module")
def patient(guarded: PocketBaseServer, superuser_token: str, valkey_url: str) -> Generator[GatewayServer]:
    """A gateway with a patience of a few seconds, and a collection that anybody may send large files to."""
    fields: list[dict[str, Any]] = [
        {"name": "title", "type": "text"},
        {"name": "f", "type": "file", "maxSize": 2048 * MEBIBYTE},
    ]
    collection = {"name": "large", "type": "base", "fields": fields, "createRule": "", "viewRule": ""}
    pace = {"GATEWAY_BODY_GRACE_SECONDS": str(GRACE_SECONDS), "GATEWAY_MIN_BODY_BYTES_PER_SECOND": "1024"}
    with httpx.Client(base_url=guarded.url, headers={"Authorization": superuser_token}, timeout=60) as control:
        control.post("/api/collections", json=collection).raise_for_status()
        with gateway_server(guarded, valkey_url, pace) as running:
            yield running
        control.delete("/api/collections/large").raise_for_status()


def memory(process_id: int, name: str) -> int:
    status = Path(f"/proc/{process_id}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(name))


async def drip(server: GatewayServer, body: bytes) -> tuple[int, float]:
    """Send a byte each half second until there is an answer; returns its status and after how long it came."""
    address = urlsplit(server.url)
    begun = time.monotonic()
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        head = f"POST {LARGE} HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\nContent-Length: 1000000\r\n\r\n"
        writer.write(head.encode() + body)
        while True:
            try:
                async with asyncio.timeout(0.5):
                    answer = await reader.readuntil(b"\r\n")
                return int(answer.split(b" ")[1]), time.monotonic() - begun
            except TimeoutError:
                writer.write(b"x")
    finally:
        writer.close()


async def ordinary(server: GatewayServer, over: asyncio.Event) -> list[float]:
    """What somebody else's requests take meanwhile."""
    took = list[float]()
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        while not over.is_set():
            begun = time.monotonic()
            (await client.post(LARGE, json={"title": "x"})).raise_for_status()
            took.append(time.monotonic() - begun)
    return took


async def test_500_slow_uploads_are_cut_off_and_nobody_else_notices(patient: GatewayServer) -> None:
    before = memory(patient.process_id, "VmRSS")
    over = asyncio.Event()
    other = asyncio.create_task(ordinary(patient, over))
    begun_file = bytes(file("f", b"x" * 2000))[:-2]
    async with asyncio.TaskGroup() as tasks:
        slow = [tasks.create_task(drip(patient, begun_file)) for _ in range(SLOW_CLIENTS)]
    over.set()
    took = sorted(await other)
    assert {task.result()[0] for task in slow} == {408}
    assert max(task.result()[1] for task in slow) < 10 * GRACE_SECONDS
    assert took[len(took) // 2] < 1
    assert memory(patient.process_id, "VmHWM") - before < 64 * MEBIBYTE
    assert left_in(patient.spool) == []


def blocks() -> Iterator[bytes]:
    """A mebibyte at a time, no two alike."""
    rest = bytes(range(256)) * 4096
    for number in range(LARGE_MEBIBYTES):
        yield number.to_bytes(4, "big") + rest[4:]


async def one_large_file() -> AsyncIterator[bytes]:
    yield bytes(file("f", b"", "large.bin"))[:-2]
    for block in blocks():
        yield block
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


async def test_a_large_file_goes_up_with_memory_flat_and_nothing_is_left(
    patient: GatewayServer, guarded: PocketBaseServer
) -> None:
    before = memory(patient.process_id, "VmHWM")
    async with httpx.AsyncClient(base_url=patient.url, timeout=150) as client:
        made = await client.post(LARGE, content=one_large_file(), headers={"Content-Type": MULTIPART})
    record = made.json()
    assert (made.status_code, bool(record["f"])) == (200, True)
    assert memory(patient.process_id, "VmHWM") - before < 32 * MEBIBYTE
    assert left_in(patient.spool) == []
    sent, stored = hashlib.sha256(), hashlib.sha256()
    for block in blocks():
        sent.update(block)
    async with (
        httpx.AsyncClient(base_url=guarded.url, timeout=60) as direct,
        direct.stream("GET", f"/api/files/large/{record['id']}/{record['f']}") as answer,
    ):
        async for chunk in answer.aiter_raw(MEBIBYTE):
            stored.update(chunk)
    assert stored.digest() == sent.digest()


async def test_an_upload_that_is_given_up_leaves_nothing(patient: GatewayServer) -> None:
    async def given_up() -> AsyncIterator[bytes]:
        yield bytes(file("f", bytes(20 * MEBIBYTE)))[:-2]
        raise ConnectionAbortedError

    before = open_files(patient.process_id)
    for _ in range(5):
        async with httpx.AsyncClient(base_url=patient.url, timeout=30) as client:
            with pytest.raises(ConnectionAbortedError):
                await client.post(LARGE, content=given_up(), headers={"Content-Type": MULTIPART})

    async def now_open() -> int:
        return open_files(patient.process_id)

    await eventually(now_open, lambda number: number <= before)
    assert left_in(patient.spool) == []


def left_in(directory: Path) -> list[Path]:
    return list(directory.iterdir())


def open_files(process_id: int) -> int:
    return len(list(Path(f"/proc/{process_id}/fd").iterdir()))
