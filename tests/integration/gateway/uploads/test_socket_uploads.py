"""Files over a WebSocket, up and down, as PocketBase's own rules allow them."""

import json
import secrets
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import httpx
import pytest
import websockets

from gateway.uploads.serve_socket import MAX_SOCKETS
from tests.eventually import eventually
from tests.pictures import png
from tests.servers.gateway import GatewayServer, User
from tests.servers.pocketbase import PocketBaseServer
from tests.upload_client import CHUNK_BYTES, UploadClient, sha256, upload_client

PROGRAM = Path("/bin/ls").read_bytes()[:CHUNK_BYTES]
PAPERS = "/api/collections/papers/records"


def folder_of(gateway: GatewayServer) -> Path:
    return gateway.spool / "pocketwire-uploads"


def parts(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("*.part")]


async def test_a_file_becomes_a_new_record_of_the_caller(
    uploading: GatewayServer, client: httpx.AsyncClient, ann: User, folder: Path
) -> None:
    data = secrets.token_bytes(3 * CHUNK_BYTES + 7)
    fields = {"title": "a paper", "owner": ann.id}
    async with upload_client(uploading, ann.token) as socket:
        ready = await socket.start(
            1, data, collection="papers", field="large", name="a paper.bin", fields=fields, sha256=sha256([data])
        )
        assert (ready["offset"], ready["size"], len(ready["upload"])) == (0, len(data), 32)
        await socket.put(1, data)
        assert (await socket.until(1, "progress"))["stage"] == "writing"
        done = await socket.until(1, "done")
    record = done["record"]
    assert (record["title"], record["collectionName"]) == ("a paper", "papers")
    stored = await client.get(f"/api/files/papers/{record['id']}/{record['large']}")
    assert stored.content == data
    assert parts(folder) == []


async def test_files_are_added_to_a_record_that_is_there_several_at_once(
    uploading: GatewayServer, client: httpx.AsyncClient, ann: User
) -> None:
    made = (await client.post(PAPERS, json={"owner": ann.id}, headers=ann.headers)).json()
    files = {ref: secrets.token_bytes(ref * 50_000) for ref in (1, 2, 3)}
    async with upload_client(uploading, ann.token) as socket:
        for ref, data in files.items():
            name = f"file{ref}.bin"
            ready = await socket.start(ref, data, collection="papers", record=made["id"], field="many+", name=name)
            assert ready["type"] == "ready"
        for offset in range(0, 150_000, 50_000):  # in turns
            for ref, data in files.items():
                if offset < len(data):
                    await socket.send(ref, offset, data[offset : offset + 50_000])
        for ref in files:
            assert (await socket.until(ref, "done"))["status"] == 200
    record = (await client.get(f"{PAPERS}/{made['id']}", headers=ann.headers)).json()
    stored = {len((await client.get(f"/api/files/papers/{made['id']}/{name}")).content) for name in record["many"]}
    assert stored == {50_000, 100_000, 150_000}


async def test_what_pocketbase_refuses_is_told_in_its_words_and_nothing_is_left(
    uploading: GatewayServer, client: httpx.AsyncClient, ann: User, bob: User
) -> None:
    folder = folder_of(uploading)
    made = (await client.post(PAPERS, json={"owner": bob.id}, headers=bob.headers)).json()
    to_papers = {"collection": "papers", "field": "large"}
    async with upload_client(uploading, ann.token) as socket:
        of_bob = await socket.upload(1, b"x", **to_papers, record=made["id"])
        for_bob = await socket.upload(2, b"x", **to_papers, fields={"owner": bob.id})
        overlong = await socket.upload(3, b"x", **to_papers, fields={"owner": ann.id, "title": "x" * 21})
    assert (of_bob["status"], of_bob["message"]) == (404, "The requested resource wasn't found.")
    assert (for_bob["status"], for_bob["message"]) == (400, "Failed to create record.")
    assert overlong["data"]["title"]["code"] == "validation_max_text_constraint"
    assert not any(told["resumable"] for told in (of_bob, for_bob, overlong))
    assert parts(folder) == []


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"collection": "nothing"}, 404, None),
        ({"collection": "_superusers"}, 403, None),
        ({"collection": "papers/../../settings"}, 400, None),
        ({"record": ".."}, 400, None),
        ({"record": "x/y"}, 400, None),
        ({"field": "title"}, 400, "validation_unknown_field"),
        ({"field": "large-"}, 400, "validation_unknown_field"),
        ({"field": "many", "size": 1_000_001}, 400, "validation_file_size_limit"),
        ({"size": -1}, 400, None),
        ({"size": 2**60}, 400, None),
        ({"sha256": "abc"}, 400, None),
        ({"name": ""}, 400, None),
        ({"fields": []}, 400, None),
        ({"more": 1}, 400, None),
    ],
)
async def test_what_cannot_come_to_anything_does_not_begin(
    uploading: GatewayServer, ann: User, changed: dict[str, object], status: int, code: str | None
) -> None:
    folder = folder_of(uploading)
    async with upload_client(uploading, ann.token) as socket:
        told = await socket.start(1, b"x", **{"collection": "papers", "field": "large", **changed})
    assert (told["type"], told["status"], told["ref"]) == ("error", status, 1)
    assert code is None or code in {error["code"] for error in told["data"].values()}
    assert parts(folder) == []


async def test_a_renamed_program_is_refused_with_its_first_bytes(
    uploading: GatewayServer, ann: User, folder: Path
) -> None:
    program = PROGRAM
    async with upload_client(uploading, ann.token) as socket:
        for ref, field, code in (
            (1, "picture", "validation_invalid_mime_type"),
            (2, "large", "validation_disguised_executable"),
        ):
            told = {
                "collection": "papers",
                "field": field,
                "name": "cat.png",
                "size": 4_000_000,
                "content_type": "image/png",
            }
            assert (await socket.start(ref, b"", **told))["type"] == "ready"
            await socket.send(ref, 0, program)
            refused = await socket.until(ref, "ack")
            assert (refused["type"], refused["resumable"]) == ("error", False)
            assert refused["data"][field]["code"] == code
            await socket.send(ref, len(program), b"more, which was under way")  # and is passed over
        await socket.start(3, b"", collection="papers", field="large", name="cat.png", size=4_000_000)
        await socket.send(3, 0, program[:8])  # by as few bytes as it takes
        assert (await socket.until(3, "ack"))["data"]["large"]["code"] == "validation_disguised_executable"
        told = await socket.upload(
            4, png(), collection="papers", field="picture", name="a.png", fields={"owner": ann.id}
        )
        assert told["type"] == "done"
        told = await socket.upload(5, program, collection="papers", field="large", name="ls", fields={"owner": ann.id})
        assert told["type"] == "done"
    assert parts(folder) == []


async def test_a_wrong_checksum_is_refused_before_pocketbase_sees_the_file(
    uploading: GatewayServer, ann: User, folder: Path
) -> None:
    async with upload_client(uploading, ann.token) as socket:
        told = await socket.upload(
            1, b"some bytes", collection="papers", field="large", fields={"owner": ann.id}, sha256=sha256([b"others"])
        )
    assert told["data"]["large"]["code"] == "validation_checksum_mismatch"
    assert parts(folder) == []


async def test_an_empty_file_is_told_by_pocketbase_as_over_http(
    uploading: GatewayServer, client: httpx.AsyncClient, ann: User
) -> None:
    form = {"owner": (None, ann.id), "large": ("a.bin", b"")}
    direct = await client.post(PAPERS, files=form, headers=ann.headers)
    async with upload_client(uploading, ann.token) as socket:
        told = await socket.upload(1, b"", collection="papers", field="large", fields={"owner": ann.id})
    assert told["status"] == direct.status_code


async def test_ranges_of_a_file_come_down_and_protected_ones_take_a_token(
    uploading: GatewayServer, client: httpx.AsyncClient, ann: User
) -> None:
    data = secrets.token_bytes(300_000)
    form = {"owner": (None, ann.id), "large": ("a.bin", data), "secret": ("b.bin", b"secret")}
    made = (await client.post(PAPERS, files=form, headers=ann.headers)).json()
    wanted = {"collection": "papers", "record": made["id"], "file": made["large"]}
    async with upload_client(uploading, ann.token) as socket:
        await socket.say("get", ref=1, **wanted)
        told = await socket.until(1, "file")
        assert (told["status"], told["offset"], told["size"], told["length"]) == (200, 0, 300_000, 300_000)
        await socket.until(1, "end")
        assert bytes(socket.bytes[1]) == data
        await socket.say("get", ref=2, **wanted, begin=100_000, end=100_999)
        told = await socket.until(2, "file")
        assert (told["status"], told["offset"], told["size"], told["length"]) == (206, 100_000, 300_000, 1000)
        await socket.until(2, "end")
        assert (socket.offsets[2], bytes(socket.bytes[2])) == (100_000, data[100_000:101_000])
        await socket.say("get", ref=3, **wanted, begin=400_000)
        assert (await socket.until(3, "file"))["status"] == 416
        await socket.say("get", ref=4, **{**wanted, "file": made["secret"]})
        assert (await socket.until(4, "file"))["status"] == 404
        token = (await client.post("/api/files/token", headers=ann.headers)).json()["token"]
        await socket.say("get", ref=5, **{**wanted, "file": made["secret"]}, token=token)
        await socket.until(5, "end")
        assert bytes(socket.bytes[5]) == b"secret"
        for ref, file in ((6, ".."), (7, "a/b"), (8, "nothing.bin")):
            await socket.say("get", ref=ref, **{**wanted, "file": file})
            assert (await socket.until(ref, "file"))["status"] in (400, 404)


async def test_what_is_no_message_is_refused_and_the_socket_stays(uploading: GatewayServer, ann: User) -> None:
    async with upload_client(uploading, ann.token) as socket:
        for said in ("no JSON", "[]", '{"type":"unknown"}', '{"type":"auth","token":1}', b"", b"short", bytes(62_000)):
            await socket.socket.send(said)
            assert (await socket.until(0))["status"] == 400
        await socket.say("start", ref=7)
        assert (await socket.until(7))["status"] == 400
        await socket.say("resume", ref=2**32, upload="x")
        assert (await socket.until(0))["status"] == 400
        await socket.socket.send(json.dumps({"type": "abort", "ref": 9}))
        assert (await socket.until(9, "aborted"))["type"] == "aborted"


async def opened_all(opened: AsyncExitStack, sockets: Iterable[AbstractAsyncContextManager[UploadClient]]) -> None:
    for socket in sockets:
        await opened.enter_async_context(socket)


async def test_one_network_does_not_take_all_the_sockets(uploading: GatewayServer) -> None:
    async with AsyncExitStack() as opened:
        sockets = [upload_client(uploading) for _ in range(len(uploading.workers()) * MAX_SOCKETS + 1)]
        with pytest.raises(websockets.InvalidStatus):
            await opened_all(opened, sockets)
    async with upload_client(uploading) as socket:
        assert (await socket.start(1, b"x", collection="papers", field="large"))["status"] == 401


async def test_who_has_not_signed_in_begins_nothing(uploading: GatewayServer, folder: Path) -> None:
    async with upload_client(uploading) as socket:
        told = await socket.start(1, b"x", collection="papers", field="large")
        assert (told["type"], told["status"]) == ("error", 401)
        await socket.say("auth", token="eyJ.not.a-token")
        assert (await socket.until(0, "auth"))["record"] is None
    assert parts(folder) == []


async def test_pocketbase_gets_who_asks_from_where_and_nothing_of_the_socket(
    uploading: GatewayServer, guarded: PocketBaseServer, superuser: httpx.AsyncClient, ann: User
) -> None:
    collection = {
        "name": "handshakes",
        "type": "base",
        "fields": [{"name": "f", "type": "file"}],
        "createRule": "@request.headers.sec_websocket_key:isset = false && @request.headers.upgrade:isset = false"
        " && @request.headers.x_forwarded_for = '127.0.0.1' && @request.auth.id != ''",
    }
    await superuser.post("/api/collections", json=collection)
    try:
        async with upload_client(uploading, ann.token) as socket:

            async def come() -> int:
                ref = max(socket.told, default=0) + 1
                return (await socket.upload(ref, b"x", collection="handshakes", field="f"))["status"]

            await eventually(come, lambda status: status == 200)
    finally:
        await superuser.delete("/api/collections/handshakes")
