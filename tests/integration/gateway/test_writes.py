"""Writes through the gateway: what a batch does, what follows from a write, and what is refused of one unsent."""

import json
import secrets
from typing import Any

import httpx
import pytest

from tests.bodies import MEBIBYTE, MULTIPART, file, multipart, value
from tests.eventually import eventually
from tests.servers.gateway import GatewayServer, User, gateway_server, signed_up
from tests.servers.pocketbase import PocketBaseServer
from tests.session_client import RECORDS, Pair, counts_as, is_out_within_a_second, sign_in

NOTES = "/api/collections/notes/records"
BATCH = "/api/batch"


def new_password(user: User) -> dict[str, str]:
    return {"oldPassword": user.password, "password": "another-horse", "passwordConfirm": "another-horse"}


def batch_of(*items: tuple[str, str, dict[str, Any] | None]) -> dict[str, Any]:
    return {"requests": [{"method": method, "url": url, "body": body} for method, url, body in items]}


async def test_a_batch_does_what_its_items_would_do(client: httpx.AsyncClient, ann: User) -> None:
    made = (await client.post(NOTES, json={"title": "a", "owner": ann.id}, headers=ann.headers)).json()["id"]
    new, gone = secrets.token_hex(8)[:15], secrets.token_hex(8)[:15]
    batch = batch_of(
        ("POST", f"{NOTES}?fields=title", {"title": "b", "owner": ann.id}),
        ("PATCH", f"{NOTES}/{made}", {"title": "c"}),
        ("PUT", NOTES, {"id": made, "title": "d"}),
        ("PUT", NOTES, {"id": new, "title": "e", "owner": ann.id}),
        ("PUT", NOTES, {"id": new, "title": "f"}),
        ("POST", NOTES, {"id": gone, "title": "g", "owner": ann.id}),
        ("DELETE", f"{NOTES}/{gone}", None),
        ("PUT", NOTES, {"id": gone, "title": "h", "owner": ann.id}),
    )
    answer = await client.post(BATCH, json=batch, headers=ann.headers)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert [item["status"] for item in told] == [200, 200, 200, 200, 200, 200, 204, 200]
    assert told[0]["body"] == {"title": "b"}
    assert [item["body"]["title"] for item in (told[2], told[4], told[7])] == ["d", "f", "h"]


async def test_one_refused_item_refuses_the_batch(client: httpx.AsyncClient, ann: User, bob: User) -> None:
    fine = {"title": secrets.token_hex(8), "owner": ann.id}
    batch = batch_of(("POST", NOTES, fine), ("POST", NOTES, {"title": "x", "owner": bob.id}))
    answer = await client.post(BATCH, json=batch, headers=ann.headers)
    assert (answer.status_code, answer.json()["message"]) == (400, "Batch transaction failed.")
    assert list(answer.json()["data"]["requests"]) == ["1"]
    listed = await client.get(NOTES, params={"filter": f"title='{fine['title']}'"}, headers=ann.headers)
    assert listed.json()["totalItems"] == 0


@pytest.mark.parametrize(
    ("batch", "status"),
    [
        (batch_of(), 400),
        (batch_of(*[("POST", NOTES, {"title": "x"})] * 51), 400),
        (batch_of(("POST", "/api/collections/nowhere/records", {})), 400),
        (batch_of(("POST", "/api/collections/_superusers/records", {})), 400),
        (batch_of(("POST", "/api/collections/users/auth-refresh", {})), 400),
        (batch_of(("POST", "/api/settings", {})), 400),
    ],
)
async def test_what_is_no_batch_is_refused(client: httpx.AsyncClient, batch: dict[str, Any], status: int) -> None:
    answer = await client.post(BATCH, json=batch)
    assert answer.status_code == status
    assert set(answer.json()["data"]) == {"requests"}


async def test_a_batch_that_changes_a_password_ends_sessions_as_a_direct_call_does(pair: Pair, user: User) -> None:
    other = await sign_in(pair.there, user)
    assert await counts_as(pair.there, other, user) == "owner"
    batch = batch_of(("PATCH", f"{RECORDS}/{user.id}", new_password(user)))
    assert (await pair.here.post(BATCH, json=batch, headers=user.headers)).status_code == 200
    await is_out_within_a_second(pair.there, other, user)


async def test_a_batch_that_deletes_a_user_ends_his_sessions(pair: Pair, user: User) -> None:
    batch = batch_of(("DELETE", f"{RECORDS}/{user.id}", None))
    assert (await pair.here.post(BATCH, json=batch, headers=user.headers)).json() == [{"body": None, "status": 204}]

    async def status() -> int:
        return (await pair.there.get("/sessions", headers=user.headers)).status_code

    await eventually(status, lambda status: status == 401, seconds=1)


async def test_a_form_that_changes_a_password_ends_sessions(pair: Pair, user: User) -> None:
    other = await sign_in(pair.there, user)
    assert await counts_as(pair.there, other, user) == "owner"
    form = multipart(value("@jsonPayload", json.dumps(new_password(user))))
    headers = {**user.headers, "Content-Type": MULTIPART}
    assert (await pair.here.patch(f"{RECORDS}/{user.id}", content=form, headers=headers)).status_code == 200
    await is_out_within_a_second(pair.there, other, user)


async def test_what_is_in_a_batch_counts_as_if_it_came_alone(
    guarded: PocketBaseServer, superuser_token: str, valkey_url: str
) -> None:
    limits = {"notes:create": {"limit": 3, "every": 600_000}}
    with gateway_server(guarded, valkey_url, {"GATEWAY_RATE_LIMITS": json.dumps(limits)}) as limited:
        async with httpx.AsyncClient(base_url=limited.url, timeout=20) as client:
            ann = await signed_up(client)
            create = ("POST", NOTES, {"title": "x", "owner": ann.id})
            fine = await client.post(BATCH, json=batch_of(create, create), headers=ann.headers)
            assert fine.status_code == 200
            refused = await client.post(BATCH, json=batch_of(create, create), headers=ann.headers)
            assert (refused.status_code, refused.json()["message"]) == (429, "Too Many Requests.")
            assert int(refused.headers["retry-after"]) > 0
            assert (await client.get(NOTES, headers=ann.headers)).json()["totalItems"] == 2


async def test_a_full_spool_refuses_uploads_for_now_and_nothing_else(
    guarded: PocketBaseServer, superuser_token: str, valkey_url: str
) -> None:
    with gateway_server(guarded, valkey_url, {"GATEWAY_MAX_SPOOL_BYTES": str(MEBIBYTE)}) as small:
        async with httpx.AsyncClient(base_url=small.url, timeout=20) as client:
            ann = await signed_up(client)
            headers = {**ann.headers, "Content-Type": MULTIPART}
            for size, status in ((2 * MEBIBYTE, 503), (MEBIBYTE // 2, 200), (MEBIBYTE // 2, 200)):
                form = multipart(value("owner", ann.id), file("attachment", bytes(size)))
                answer = await client.post(NOTES, content=form, headers=headers)
                assert answer.status_code == status
            assert (await client.get(NOTES, headers=ann.headers)).json()["totalItems"] == 2


async def test_a_batch_and_a_file_have_a_size_that_is_known_before_they_are_sent_on(
    guarded: PocketBaseServer, superuser_token: str, valkey_url: str
) -> None:
    told = {"GATEWAY_MAX_BATCH_BYTES": "1000", "GATEWAY_MAX_FIELDS_BYTES": "2000"}
    with gateway_server(guarded, valkey_url, told) as small:
        async with httpx.AsyncClient(base_url=small.url, timeout=20) as client:
            ann = await signed_up(client)
            note = {"title": "x" * 1500, "owner": ann.id}
            assert (await client.post(NOTES, json=note, headers=ann.headers)).status_code == 200
            batch = batch_of(("POST", NOTES, note))
            assert (await client.post(BATCH, json=batch, headers=ann.headers)).status_code == 413
            note["title"] *= 2
            assert (await client.post(NOTES, json=note, headers=ann.headers)).status_code == 413


async def test_a_field_that_was_changed_a_moment_ago_is_known(
    gateway: GatewayServer, client: httpx.AsyncClient, superuser: httpx.AsyncClient
) -> None:
    """Without NATS the gateway looks for itself."""
    fields = [{"name": "f", "type": "file", "maxSize": 10}]
    made = await superuser.post(
        "/api/collections", json={"name": "shelf", "type": "base", "createRule": "", "fields": fields}
    )
    form = multipart(file("f", bytes(20)))

    async def status() -> int:
        answer = await client.post("/api/collections/shelf/records", content=form, headers={"Content-Type": MULTIPART})
        return answer.status_code

    try:
        assert await status() == 400
        row = made.json()
        row["fields"] = [{**field, "maxSize": 30} if field["name"] == "f" else field for field in row["fields"]]
        await superuser.patch("/api/collections/shelf", json=row)
        await eventually(status, lambda status: status == 200, seconds=10)
    finally:
        await superuser.delete("/api/collections/shelf")
