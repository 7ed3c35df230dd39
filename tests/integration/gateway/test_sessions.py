"""Rolling sessions over two gateway processes that share one Valkey, as their users and whoever robs them see them."""

import re

import httpx
import pytest

from tests.servers.gateway import User, signed_up
from tests.session_client import (
    REFUSED,
    Pair,
    audit_lines,
    bearing,
    becomes_a_guest,
    counts_as,
    is_out_within_a_second,
    refresh,
    refreshed,
    session_in,
    sessions,
    sign_in,
)

FIREFOX = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0"}


async def test_a_predecessor_works_for_the_grace_and_a_replay_ends_the_family_everywhere(
    pair: Pair, user: User
) -> None:
    for client in (pair.here, pair.there):  # both have it in memory
        assert await counts_as(client, user.token, user) == "owner"
    successor = await refreshed(pair.here, user.token)
    assert await counts_as(pair.there, user.token, user) == "owner"
    assert await counts_as(pair.there, successor, user) == "owner"
    await becomes_a_guest(pair.there, user.token, user)
    for client in (pair.here, pair.there):
        await is_out_within_a_second(client, successor, user)
    refused = await refresh(pair.here, successor)
    assert (refused.status_code, refused.json()) == (401, REFUSED)
    session_id = session_in(user.token)
    [line] = audit_lines(pair.servers, "session replayed", session_id)
    assert line["level"] == "warning"
    assert (line["record_id"], line["generation"], line["newest_generation"]) == (user.id, 1, 2)
    text = "".join(server.log.read_text() for server in pair.servers)
    for token in (user.token, successor):
        assert token not in text
        assert token.split(".")[2] not in text


async def test_whoever_stole_a_token_is_out_once_both_have_used_it(pair: Pair, user: User) -> None:
    stolen = user.token
    thief = await refreshed(pair.there, stolen)
    assert await counts_as(pair.there, thief, user) == "owner"
    await becomes_a_guest(pair.here, user.token, user)
    await is_out_within_a_second(pair.there, thief, user)
    assert await counts_as(pair.here, await sign_in(pair.here, user), user) == "owner"


async def test_a_user_sees_each_session_and_which_one_is_this(pair: Pair, user: User) -> None:
    from_phone = await sign_in(pair.there, user, **{"X-Device-Name": "Ann's phone", "X-Forwarded-For": "203.0.113.9"})
    from_desk = await sign_in(pair.here, user, **FIREFOX)
    listed = await sessions(pair.there, from_phone)
    assert [item["device"] for item in listed][:2] == ["Firefox on Linux", "Ann's phone"]
    assert [item["current"] for item in listed] == [False, True, False]
    assert [item["id"] for item in listed] == [session_in(token) for token in (from_desk, from_phone, user.token)]
    assert listed[1]["address"] == "203.0.113.9"
    for item in listed:
        assert set(item) == {"id", "current", "device", "address", "created", "lastUsed", "expires"}
        for name in ("created", "lastUsed", "expires"):
            assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z", item[name])


async def test_the_id_of_a_session_opens_nothing(pair: Pair, user: User, superuser: httpx.AsyncClient) -> None:
    session_id = (await sessions(pair.here, user.token))[0]["id"]
    for client in (pair.here, pair.there):
        assert await counts_as(client, session_id, user) == "guest"
    mallory = await signed_up(pair.here, name="mallory")
    for token, status in ((mallory.token, 404), (session_id, 401), ("", 401)):
        refused = await pair.there.delete(f"/sessions/{session_id}", headers=bearing(token))
        assert refused.status_code == status
        assert set(refused.json()) == {"data", "message", "status"}
    assert await counts_as(pair.here, user.token, user) == "owner"


async def test_ending_one_session_ends_it_on_the_other_process_within_a_second(pair: Pair, user: User) -> None:
    lost = await sign_in(pair.there, user)
    assert await counts_as(pair.there, lost, user) == "owner"
    ended = await pair.here.delete(f"/sessions/{session_in(lost)}", headers=user.headers)
    assert (ended.status_code, ended.content) == (204, b"")
    await is_out_within_a_second(pair.there, lost, user)
    assert await counts_as(pair.there, user.token, user) == "owner"
    again = await pair.here.delete(f"/sessions/{session_in(lost)}", headers=user.headers)
    assert again.status_code == 404
    assert again.headers["access-control-allow-origin"] == "*"


async def test_signing_out_everywhere_is_seen_on_the_other_process_within_a_second(pair: Pair, user: User) -> None:
    tokens = [user.token, await sign_in(pair.there, user), await sign_in(pair.here, user)]
    for token in tokens:
        assert await counts_as(pair.there, token, user) == "owner"
    assert (await pair.there.delete("/sessions?keep=all", headers=user.headers)).status_code == 400
    assert (await pair.here.delete("/sessions?keep=current", headers=bearing(tokens[1]))).status_code == 204
    for token in (tokens[0], tokens[2]):
        await is_out_within_a_second(pair.there, token, user)
    assert await counts_as(pair.there, tokens[1], user) == "owner"
    assert (await pair.here.delete("/sessions", headers=bearing(tokens[1]))).status_code == 204
    await is_out_within_a_second(pair.there, tokens[1], user)


@pytest.mark.parametrize(("method", "path"), [("GET", "/sessions"), ("DELETE", "/sessions"), ("DELETE", "/sessions/x")])
async def test_a_guest_has_no_sessions(pair: Pair, method: str, path: str) -> None:
    answer = await pair.here.request(method, path)
    assert (answer.status_code, answer.json()) == (401, REFUSED)


async def test_one_session_too_many_ends_the_oldest(pair: Pair, user: User) -> None:
    assert await counts_as(pair.there, user.token, user) == "owner"
    newer = [await sign_in(pair.here, user) for _ in range(4)]
    await is_out_within_a_second(pair.there, user.token, user)
    assert len(await sessions(pair.there, newer[0])) == 4
