"""tus 1.0.0: with its own client through Caddy, and header by header."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.gateway.uploads.test_socket_uploads import PROGRAM, folder_of, parts
from tests.servers import node
from tests.servers.caddy import caddy_server
from tests.servers.gateway import GatewayServer, User

SCRIPT = Path(__file__).with_name("tus.mjs")
TUS = "/api/files/tus"
VERSION = {"Tus-Resumable": "1.0.0"}
PIECE = {"Content-Type": "application/offset+octet-stream"}


def metadata(**values: str) -> str:
    told = {"collection": "papers", "field": "large", "filename": "a.bin", **values}
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in told.items())


@pytest.fixture
def tus(client: httpx.AsyncClient, ann: User) -> httpx.AsyncClient:
    client.headers.update({**VERSION, **ann.headers})
    return client


async def begun(tus: httpx.AsyncClient, ann: User, size: int, **values: str) -> str:
    fields = json.dumps({"owner": ann.id})
    headers = {"Upload-Length": str(size), "Upload-Metadata": metadata(fields=fields, **values)}
    answer = await tus.post(TUS, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


async def patch(tus: httpx.AsyncClient, where: str, offset: int, data: bytes, **headers: str) -> httpx.Response:
    return await tus.patch(where, content=data, headers={**PIECE, "Upload-Offset": str(offset), **headers})


async def test_the_client_of_tus_goes_on_after_it_was_broken_off_through_caddy(
    uploading: GatewayServer, ann: User
) -> None:
    node.install()
    with caddy_server(uploading.url) as origin:
        told = json.loads(await node.run(SCRIPT, origin, ann.token, ann.id, "700000"))
    assert told == {
        "resumed": True,
        "title": "by tus",
        "isEqual": True,
        "refused": [400, "Failed to create record."],
    }
    assert parts(folder_of(uploading)) == []


async def test_what_is_spoken_here_is_told_to_whoever_asks(client: httpx.AsyncClient) -> None:
    told = await client.options(TUS)
    assert (told.status_code, told.headers["tus-version"]) == (204, "1.0.0")
    assert told.headers["tus-extension"] == "creation,expiration,checksum,termination"
    assert told.headers["tus-checksum-algorithm"] == "sha1,sha256"
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "tus-resumable,upload-offset"}
    preflight = await client.options(f"{TUS}/x", headers=asked)
    assert "PATCH" in preflight.headers["access-control-allow-methods"]
    assert preflight.headers["access-control-allow-headers"] == "tus-resumable,upload-offset"


async def test_pieces_come_in_order_and_what_is_there_can_be_asked_for(tus: httpx.AsyncClient, ann: User) -> None:
    where = await begun(tus, ann, 10)
    first = await patch(tus, where, 0, b"01234")
    assert (first.status_code, first.headers["upload-offset"]) == (204, "5")
    assert "Upload-Offset" in first.headers["access-control-expose-headers"]
    head = await tus.head(where)
    assert (head.status_code, head.headers["upload-offset"], head.headers["upload-length"]) == (200, "5", "10")
    assert head.headers["cache-control"] == "no-store"
    assert head.headers["upload-expires"].endswith("GMT")
    assert (await patch(tus, where, 4, b"45678")).status_code == 409
    assert (await patch(tus, where, 5, b"567890")).status_code == 409  # more than was announced
    assert (await tus.get(where)).status_code == 404  # no answer yet
    assert (await patch(tus, where, 5, b"56789")).headers["upload-offset"] == "10"
    assert (await tus.head(where)).headers["upload-offset"] == "10"
    record = (await tus.get(where)).json()
    assert (await tus.get(f"/api/files/papers/{record['id']}/{record['large']}")).content == b"0123456789"
    assert (await patch(tus, where, 10, b"")).status_code == 409  # it is over


async def test_a_piece_with_a_wrong_checksum_is_taken_back(tus: httpx.AsyncClient, ann: User) -> None:
    where = await begun(tus, ann, 10)
    for algorithm in ("sha1", "sha256"):
        digest = base64.b64encode(hashlib.new(algorithm, b"01234").digest()).decode()
        wrong = await patch(tus, where, 0, b"0123x", **{"Upload-Checksum": f"{algorithm} {digest}"})
        assert wrong.status_code == 460
        assert (await tus.head(where)).headers["upload-offset"] == "0"
    assert (await patch(tus, where, 0, b"01234", **{"Upload-Checksum": "md5 AAAA"})).status_code == 400
    assert (await patch(tus, where, 0, b"01234", **{"Upload-Checksum": f"{algorithm} {digest}"})).status_code == 204
    await tus.delete(where)


async def test_what_is_given_up_is_gone(uploading: GatewayServer, tus: httpx.AsyncClient, ann: User) -> None:
    where = await begun(tus, ann, 10)
    override = {"X-HTTP-Method-Override": "DELETE"}
    assert (await tus.post(where, headers=override)).status_code == 204
    assert (await tus.head(where)).status_code == 404
    assert parts(folder_of(uploading)) == []


async def test_a_renamed_program_is_refused_before_it_is_complete(
    uploading: GatewayServer, tus: httpx.AsyncClient, ann: User
) -> None:
    where = await begun(tus, ann, 5_000_000, filename="cat.png", filetype="image/png")
    refused = await patch(tus, where, 0, PROGRAM)
    assert refused.json()["data"]["large"]["code"] == "validation_disguised_executable"
    assert (await tus.head(where)).status_code == 404
    assert parts(folder_of(uploading)) == []


BEGINS: list[tuple[dict[str, str], int]] = [
    ({"Tus-Resumable": "0.2.2"}, 412),
    ({"Upload-Length": "-1"}, 400),
    ({"Upload-Length": "9" * 30}, 400),
    ({"Upload-Defer-Length": "1", "Upload-Length": ""}, 400),
    ({"Upload-Metadata": ""}, 400),
    ({"Upload-Metadata": "collection !!"}, 400),
    ({"Upload-Metadata": metadata(fields="[]")}, 400),
    ({"Upload-Metadata": metadata(fields='{"a":1,"a":2}')}, 400),
    ({"Upload-Metadata": metadata(collection="_superusers")}, 403),
    ({"Upload-Metadata": metadata(record="..")}, 400),
    ({"Authorization": ""}, 401),
]


@pytest.mark.parametrize(("changed", "status"), BEGINS)
async def test_what_cannot_come_to_anything_does_not_begin(
    tus: httpx.AsyncClient, changed: dict[str, str], status: int
) -> None:
    headers = {"Upload-Length": "10", "Upload-Metadata": metadata(), **changed}
    answer = await tus.post(TUS, headers=headers)
    told: dict[str, Any] = answer.json()
    assert (answer.status_code, told["status"]) == (status, status)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", TUS, 404),
        ("PATCH", TUS, 404),
        ("POST", f"{TUS}/{'A' * 32}", 404),
        ("HEAD", f"{TUS}/{'A' * 32}", 404),
        ("HEAD", f"{TUS}/%2e%2e", 400),
        ("HEAD", f"{TUS}/..%2f..%2fetc", 400),
        ("GET", f"{TUS}/", 404),
        ("GET", "/api/files/tusk", 404),
    ],
)
async def test_other_paths_and_methods_lead_nowhere(
    tus: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    assert (await tus.request(method, path)).status_code == status


async def test_bodies_of_another_type_and_uploads_with_a_body_are_refused(tus: httpx.AsyncClient, ann: User) -> None:
    where = await begun(tus, ann, 10)
    answer = await tus.patch(where, content=b"x", headers={"Upload-Offset": "0", "Content-Type": "text/plain"})
    assert answer.status_code == 415
    with_body = await tus.post(TUS, content=b"x", headers={"Upload-Length": "1", "Upload-Metadata": metadata()})
    assert with_body.status_code == 400
    await tus.delete(where)
