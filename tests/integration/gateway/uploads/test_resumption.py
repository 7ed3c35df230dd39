"""Uploads go on after whatever ended their connection, for whoever began them and nobody else."""

import asyncio
import hashlib
import os
import secrets
import signal
from collections.abc import Generator, Iterator

import httpx
import pytest
import websockets

from gateway.adapters.part_store import PartStore
from gateway.core.uploads.part_name import Bounds
from tests.eventually import eventually
from tests.integration.gateway.test_slow_and_large_bodies import memory
from tests.integration.gateway.uploads.test_socket_uploads import PAPERS, folder_of, parts
from tests.servers.gateway import GatewayServer, User, base64url, gateway_server
from tests.servers.pocketbase import PocketBaseServer
from tests.session_client import session_in, sign_in
from tests.thorough import times
from tests.upload_client import CHUNK_BYTES, UploadClient, sha256, upload_client

MEBIBYTE = 1024 * 1024
LARGE = times(256, 1024) * MEBIBYTE
WINDOW = 1024 * 1024
BOUNDS = Bounds(LARGE, 1000, LARGE, 1000, 60, 60)
TO_PAPERS = {"collection": "papers", "field": "large"}


def large_file() -> Iterator[bytes]:
    """A mebibyte at a time, no two alike."""
    rest = bytes(range(256)) * 4096
    return (number.to_bytes(4, "big") + rest[4:] for number in range(LARGE // MEBIBYTE))


async def flood(socket: UploadClient, ref: int, begin: int, end: int) -> None:
    """Send that part of the blocks, as fast as the window of unacknowledged bytes allows."""
    acknowledged = offset = begin
    for number, block in enumerate(large_file()):
        at = number * MEBIBYTE
        if at + MEBIBYTE <= offset or at >= end:
            continue
        while offset < min(at + MEBIBYTE, end):
            piece = block[offset - at : min(offset - at + CHUNK_BYTES, end - at)]
            while offset + len(piece) - acknowledged > WINDOW:
                acknowledged = (await socket.until(ref, "ack"))["offset"]
            await socket.send(ref, offset, piece)
            offset += len(piece)
    while acknowledged < end:
        acknowledged = (await socket.until(ref, "ack"))["offset"]


async def test_a_large_file_is_cut_off_at_60_percent_and_goes_on_with_memory_flat(
    uploading: GatewayServer, guarded: PocketBaseServer, ann: User
) -> None:
    before = {worker: memory(worker, "VmHWM") for worker in uploading.workers()}
    checksum, cut_at = sha256(large_file()), LARGE * 6 // 10
    async with upload_client(uploading, ann.token) as socket:
        told = {**TO_PAPERS, "name": "large.bin", "fields": {"owner": ann.id}}
        ready = await socket.start(1, b"", **told, size=LARGE, sha256=checksum)
        await flood(socket, 1, 0, cut_at)
        socket.socket.transport.abort()
    async with upload_client(uploading, ann.token) as socket:
        await socket.say("resume", ref=1, upload=ready["upload"])
        resumed = await socket.until(1, "ready")
        assert resumed["offset"] == cut_at
        await flood(socket, 1, cut_at, LARGE)
        record = (await socket.until(1, "done"))["record"]
    grown = [memory(worker, "VmHWM") - high for worker, high in before.items()]
    assert max(grown) < 48 * MEBIBYTE
    assert parts(folder_of(uploading)) == []
    stored = hashlib.sha256()
    async with (
        httpx.AsyncClient(base_url=guarded.url, timeout=60) as direct,
        direct.stream("GET", f"/api/files/papers/{record['id']}/{record['large']}") as answer,
    ):
        async for chunk in answer.aiter_raw(MEBIBYTE):
            stored.update(chunk)
    assert stored.hexdigest() == checksum


async def half_way(socket: UploadClient, data: bytes, **told: object) -> str:
    """The id of an upload of which half is there."""
    ready = await socket.start(1, data, **TO_PAPERS, **told)
    await socket.put(1, data, 0, len(data) // 2)
    return ready["upload"]


async def test_nobody_else_goes_on_with_an_upload_whatever_he_knows(
    uploading: GatewayServer, client: httpx.AsyncClient, ann: User, bob: User
) -> None:
    data = secrets.token_bytes(1000)
    another = await sign_in(client, ann)  # of hers, but another session
    async with upload_client(uploading, ann.token) as socket:
        id = await half_way(socket, data, fields={"owner": ann.id})
        name = parts(folder_of(uploading))[0]
        for token in (bob.token, another, ""):
            async with upload_client(uploading, token) as other:
                tried = (id, name, f"../{name}", id + "\0", "", "*", id[:-1], id.swapcase(), "A" * 32)
                for ref, wanted in enumerate(tried, 1):
                    await other.say("resume", ref=ref, upload=wanted)
                    assert (await other.until(ref, "ready"))["status"] == 404
                await other.say("abort", ref=len(tried))
        tus = {"Tus-Resumable": "1.0.0", "Authorization": bob.token}
        for method in ("HEAD", "DELETE", "PATCH"):
            more = {"Upload-Offset": "500", "Content-Type": "application/offset+octet-stream"}
            answer = await client.request(method, f"/api/files/tus/{id}", headers={**tus, **more})
            assert answer.status_code == 404
        await socket.put(1, data, 500)
        assert (await socket.until(1, "done"))["status"] == 200


async def test_whoever_takes_an_upload_last_goes_on_and_the_other_writes_no_byte_more(
    uploading: GatewayServer, client: httpx.AsyncClient, ann: User
) -> None:
    data = secrets.token_bytes(200_000)
    for _ in range(4):  # the second connection reaches the same worker as the first, or another one
        async with upload_client(uploading, ann.token) as first, upload_client(uploading, ann.token) as second:
            id = await half_way(first, data, fields={"owner": ann.id})
            await second.say("resume", ref=5, upload=id)
            assert (await second.until(5, "ready"))["offset"] == 100_000
            await first.send(1, 100_000, b"not what belongs here")
            refused = await first.until(1, "ack")
            assert (refused["status"], refused["resumable"]) == (409, True)
            await second.put(5, data, 100_000)
            record = (await second.until(5, "done"))["record"]
        assert (await client.get(f"/api/files/papers/{record['id']}/{record['large']}")).content == data


async def test_bytes_at_another_offset_or_beyond_the_end_are_not_taken(uploading: GatewayServer, ann: User) -> None:
    async with upload_client(uploading, ann.token) as socket:
        for ref, (offset, length) in zip((1, 12, 23, 34), ((1, 10), (0, 1001), (2**63, 1), (999, 2)), strict=True):
            id = (await socket.start(ref, bytes(1000), **TO_PAPERS))["upload"]
            await socket.send(ref, offset, bytes(length))
            assert (await socket.until(ref, "ack"))["status"] == 409
            await socket.say("resume", ref=ref + 10, upload=id)
            assert (await socket.until(ref + 10, "ready"))["offset"] == 0
            await socket.say("start", ref=ref + 10, **TO_PAPERS, name="a", size=1)
            assert (await socket.until(ref + 10, "ready"))["status"] == 400  # a number is used once
            await socket.say("abort", ref=ref + 10)
            await socket.until(ref + 10, "aborted")


async def test_a_connection_that_ends_with_the_last_byte_makes_one_record_and_tells_of_it(
    uploading: GatewayServer, client: httpx.AsyncClient, ann: User
) -> None:
    data = secrets.token_bytes(100_000)
    fields = {"owner": ann.id, "title": secrets.token_hex(8)}
    async with upload_client(uploading, ann.token) as socket:
        id = await half_way(socket, data, fields=fields)
        await socket.send(1, 50_000, data[50_000:])
        await socket.until(1, "progress")
        socket.socket.transport.abort()
    refs = iter(range(1, 100))
    async with upload_client(uploading, ann.token) as socket:

        async def result() -> dict[str, object]:
            ref = next(refs)
            await socket.say("resume", ref=ref, upload=id)
            told = await socket.until(ref, "ready", "done")
            return await socket.until(ref, "done") if told["type"] == "ready" else told

        done = await eventually(result, lambda told: told["type"] == "done")
    assert done["record"]
    assert parts(folder_of(uploading)) == []


async def test_an_upload_goes_on_after_the_worker_that_took_it_was_killed(
    uploading: GatewayServer, client: httpx.AsyncClient, ann: User
) -> None:
    data = secrets.token_bytes(200_000)
    async with upload_client(uploading, ann.token) as socket:
        id = await half_way(socket, data, fields={"owner": ann.id})
        for worker in uploading.workers():
            os.kill(worker, signal.SIGKILL)
        with pytest.raises(websockets.ConnectionClosed):
            await socket.hear()

    async def resumed() -> dict[str, object]:
        async with upload_client(uploading, ann.token) as again:
            await again.say("resume", ref=1, upload=id)
            ready = await again.until(1, "ready")
            assert ready["offset"] == 100_000
            await again.put(1, data, 100_000)
            return await again.until(1, "done")

    assert (await eventually(resumed, seconds=30))["status"] == 200


async def test_with_its_session_an_upload_ends_wherever_it_is(
    uploading: GatewayServer, client: httpx.AsyncClient, ann: User
) -> None:
    token = await sign_in(client, ann)
    async with upload_client(uploading, token) as running, upload_client(uploading, token) as left:
        id = await half_way(left, bytes(1000), fields={"owner": ann.id})
        await running.start(1, bytes(1000), **TO_PAPERS)
        await left.socket.close()
        assert len(parts(folder_of(uploading))) == 2
        answer = await client.delete(f"/sessions/{session_in(token)}", headers={"Authorization": token})
        assert answer.status_code == 204

        async def remaining() -> list[str]:
            return parts(folder_of(uploading))

        await eventually(remaining, lambda found: found == [], seconds=5)
        await running.send(1, 0, b"more")
        assert (await running.until(0))["status"] == 401
        assert await running.closed() == 1008
    async with upload_client(uploading) as again:
        await again.say("auth", token=token)
        await again.say("resume", ref=1, upload=id)
        assert (await again.until(1, "ready"))["status"] == 404


async def test_what_waits_for_its_turn_is_not_written_for_a_session_that_ends_meanwhile(
    uploading: GatewayServer, client: httpx.AsyncClient, ann: User
) -> None:
    token, folder = await sign_in(client, ann), folder_of(uploading)
    made = (await client.post(PAPERS, json={"owner": ann.id}, headers=ann.headers)).json()
    async with upload_client(uploading, token) as socket:
        turn = await PartStore(folder, BOUNDS).turn(f"{made['collectionId']}/{made['id']}")
        await socket.start(1, b"whole", collection="papers", record=made["id"], field="large", name="a.bin")
        await socket.put(1, b"whole", 0, 5)
        await socket.until(1, "progress")
        assert (await client.delete(f"/sessions/{session_in(token)}", headers={"Authorization": token})).is_success

        async def remaining() -> list[str]:
            return parts(folder)

        await eventually(remaining, lambda found: found == [])
        turn.release()
        assert (await socket.until(1, "error"))["status"] == 404
    assert (await client.get(f"{PAPERS}/{made['id']}", headers=ann.headers)).json()["large"] == ""


TWO_HUNDRED, OF_THEM_ABANDONED, SOCKETS = 200, 20, 20


@pytest.fixture(scope="module")
def impatient(uploading: GatewayServer, guarded: PocketBaseServer, valkey_url: str) -> Generator[GatewayServer]:
    """A gateway that looks every ten seconds for what has waited too long, and takes little from each user."""
    changed = {
        "GATEWAY_UPLOAD_IDLE_SECONDS": "40",
        "GATEWAY_MAX_USER_UPLOADS": "210",
        "GATEWAY_MAX_USER_UPLOAD_BYTES": "30000000",
        "GATEWAY_SIGNING_KEY": base64url(uploading.signing_key),
        "GATEWAY_SESSION_KEY": base64url(uploading.session_key),
    }
    with gateway_server(guarded, valkey_url, changed) as running:
        yield running


async def test_of_two_hundred_uploads_at_once_the_abandoned_ones_leave_nothing_behind(
    impatient: GatewayServer, superuser: httpx.AsyncClient, ann: User
) -> None:
    data, title = secrets.token_bytes(100_000), secrets.token_hex(8)
    told = {**TO_PAPERS, "fields": {"owner": ann.id, "title": title}}
    each = TWO_HUNDRED // SOCKETS

    async def some(abandoned: int) -> None:
        async with upload_client(impatient, ann.token) as socket:
            for ref in range(1, each + 1):
                assert (await socket.start(ref, data, **told))["type"] == "ready"
            for ref in range(1, each + 1):
                await socket.put(ref, data, 0, 50_000 if ref <= abandoned else len(data))
            for ref in range(abandoned + 1, each + 1):
                assert (await socket.until(ref, "done"))["type"] == "done"
            socket.socket.transport.abort()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(SOCKETS):
            tasks.create_task(some(OF_THEM_ABANDONED // SOCKETS))
    query = {"filter": f"title = '{title}'", "fields": "id", "perPage": "1"}
    found = (await superuser.get(PAPERS, params=query)).json()
    assert found["totalItems"] == TWO_HUNDRED - OF_THEM_ABANDONED

    left = parts(folder_of(impatient))
    assert len(left) == OF_THEM_ABANDONED
    for name in left:
        os.utime(folder_of(impatient) / name, (0, 0))  # as if they had waited for long

    async def remaining() -> list[str]:
        return parts(folder_of(impatient))

    await eventually(remaining, lambda found: found == [], seconds=30)


async def test_nobody_takes_more_of_the_disk_than_is_his(impatient: GatewayServer, ann: User) -> None:
    async with upload_client(impatient, ann.token) as socket:
        assert (await socket.start(1, b"", **TO_PAPERS, size=20_000_000))["type"] == "ready"
        refused = await socket.start(2, b"", **TO_PAPERS, size=20_000_000)
        assert (refused["status"], refused["resumable"]) == (503, True)
        await socket.say("abort", ref=1)
        assert (await socket.start(3, b"", **TO_PAPERS, size=20_000_000))["type"] == "ready"
        await socket.say("abort", ref=3)
        for ref in range(4, 20):
            assert (await socket.start(ref, b"", **TO_PAPERS, size=1))["type"] == "ready"
        assert (await socket.start(20, b"", **TO_PAPERS, size=1))["status"] == 400  # sixteen at once over one socket
        for ref in range(4, 20):
            await socket.say("abort", ref=ref)
            await socket.until(ref, "aborted")
