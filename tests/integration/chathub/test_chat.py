"""People who chat on one node."""

import json
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from websockets.exceptions import ConnectionClosed

from tests.chat_client import chatting
from tests.eventually import eventually
from tests.servers.chathub import Chathub
from tests.servers.issuer import Issuer


async def test_two_users_chat_and_hear_the_same_frame(node: Chathub, tokens: Issuer) -> None:
    async with chatting(node.ws, tokens.token("ann")) as ann, chatting(node.ws, tokens.token("bob")) as bob:
        await ann.say("hello, Bob ☕")
        heard = await bob.hear("hello, Bob ☕")
        assert heard == await ann.hear("hello, Bob ☕")
        assert (heard["owner_id"], heard["username"], heard["channel"]) == ("ann", "Ann", "general")
        assert heard["authored_at"].endswith("Z")


async def test_the_authorization_header_does_as_well(node: Chathub, tokens: Issuer) -> None:
    headers = {"Authorization": f"Bearer {tokens.token('ann')}"}
    async with chatting(node.ws, None, additional_headers=headers) as ann:
        await ann.say("by header")
        await ann.hear("by header")


async def test_who_comes_back_finds_what_was_said_meanwhile(node: Chathub, tokens: Issuer) -> None:
    async with chatting(node.ws, tokens.token("ann")) as ann:
        for number in range(3):
            await ann.say(f"meanwhile {number}", client_msg_id=f"meanwhile-{number}")
        await ann.acked("meanwhile-2")
        await ann.hear("meanwhile 2")
    async with chatting(node.ws, tokens.token("bob")) as bob:
        texts = [text for _, text in bob.messages()]
        assert texts[-3:] == ["meanwhile 0", "meanwhile 1", "meanwhile 2"]


async def test_a_welcome_has_its_order(node: Chathub, tokens: Issuer) -> None:
    async with chatting(node.ws, tokens.token("ann")) as ann:
        await ann.say("for the record")
        await ann.hear("for the record")
        await ann.whisper("ann", "note to self")
        await ann.hear("note to self", "private_chat_message")
        async with chatting(node.ws, tokens.token("ann")) as again:
            types = [frame["type"] for frame in again.heard]
    assert types == ["bulk_chat_messages", "active_channels", "bulk_private_messages", "connected_users"]


async def test_whispers_reach_every_socket_of_the_two_and_nobody_else(node: Chathub, tokens: Issuer) -> None:
    async with (
        chatting(node.ws, tokens.token("ann")) as ann,
        chatting(node.ws, tokens.token("ann")) as ann_too,
        chatting(node.ws, tokens.token("bob")) as bob,
        chatting(node.ws, tokens.token("bob")) as bob_too,
        chatting(node.ws, tokens.token("eve")) as eve,
    ):
        await ann.whisper("bob", "between us")
        for client in (ann, ann_too, bob, bob_too):
            heard = await client.hear("between us", "private_chat_message")
            assert (heard["recipient_id"], heard["recipient"]) == ("bob", "Bob")
        await ann.say("aloud")
        await eve.hear("aloud")  # had the whisper come to her, it would have come before
        assert "between us" not in json.dumps(eve.heard)


async def test_who_was_away_finds_the_whisper(node: Chathub, tokens: Issuer) -> None:
    async with chatting(node.ws, tokens.token("carl")):
        pass
    async with chatting(node.ws, tokens.token("ann")) as ann:
        await ann.whisper("carl", "while you were away", client_msg_id="away-1")
        await ann.acked("away-1")
        await ann.hear("while you were away", "private_chat_message")
    async with chatting(node.ws, tokens.token("carl")) as carl:
        bulk = await carl.until("bulk_private_messages")
        assert [message["message"] for message in bulk["messages"]] == ["while you were away"]


async def test_a_repeated_client_id_is_one_message_and_the_same_ack(node: Chathub, tokens: Issuer) -> None:
    async with chatting(node.ws, tokens.token("ann")) as ann, chatting(node.ws, tokens.token("bob")) as bob:
        await ann.say("once only", client_msg_id="same")
        first = await ann.acked("same")
        ann.heard.clear()
        await ann.say("once only", client_msg_id="same")
        assert await ann.acked("same") == first
        await bob.say("another's id is another's", client_msg_id="same")
        assert await bob.acked("same") != first
        await bob.hear("another's id is another's")
        assert [text for _, text in bob.messages()].count("once only") == 1


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("not json", "malformed"),
        ('{"type":"dance"}', "unknown_type"),
        ('{"type":"chat_message","channel":"nowhere","message":"x"}', "unknown_channel"),
        ('{"type":"chat_message","channel":"*","message":"x"}', "unknown_channel"),
        ('{"type":"chat_message","channel":"general","message":"a\\u0000b"}', "unsupported_text"),
        ('{"type":"private_chat_message","recipient_id":"nobody-at-all","message":"x"}', "unknown_recipient"),
        (json.dumps({"type": "chat_message", "channel": "general", "message": "x" * 2001}), "too_long"),
    ],
)
async def test_a_bad_frame_is_answered_and_the_socket_lives(
    node: Chathub, tokens: Issuer, frame: str, code: str
) -> None:
    async with chatting(node.ws, tokens.token("ann")) as ann:
        await ann.socket.send(frame)
        assert (await ann.until("error"))["code"] == code
        await ann.say(f"still here after {code}")
        await ann.hear(f"still here after {code}")


async def test_half_a_surrogate_pair_is_answered(node: Chathub, tokens: Issuer) -> None:
    async with chatting(node.ws, tokens.token("ann")) as ann:
        await ann.socket.send('{"type":"chat_message","channel":"general","message":"\\ud83d"}')
        assert (await ann.until("error"))["code"] in {"malformed", "unsupported_text"}


async def test_bytes_close_the_socket(node: Chathub, tokens: Issuer) -> None:
    async with chatting(node.ws, tokens.token("ann")) as ann:
        await ann.socket.send(b"\x00\x01")
        with pytest.raises(ConnectionClosed) as closed:
            await ann.until("never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1003


async def test_a_frame_beyond_all_bounds_closes_its_socket_and_no_other(node: Chathub, tokens: Issuer) -> None:
    async with chatting(node.ws, tokens.token("ann")) as ann, chatting(node.ws, tokens.token("bob")) as bob:
        await ann.socket.send("x" * (64 * 1024 + 1))
        with pytest.raises(ConnectionClosed) as closed:
            await ann.until("never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        await bob.say("unaffected")
        await bob.hear("unaffected")


async def test_status_is_told_with_the_first_socket_and_the_last(node: Chathub, tokens: Issuer) -> None:
    def of_dora(status: bool) -> Callable[[Any], bool]:
        def holds(payload: Any) -> bool:
            return payload == {"username": "Dora", "id": "dora", "status": status}

        return holds

    async with chatting(node.ws, tokens.token("ann")) as ann:
        async with chatting(node.ws, tokens.token("dora")):
            async with chatting(node.ws, tokens.token("dora")) as second:
                users = (await second.until("connected_users"))["users"]
                assert [user["id"] for user in users].count("dora") == 1
            await ann.until("user_status", of_dora(True))
        await ann.until("user_status", of_dora(False))
        statuses = [frame["payload"] for frame in ann.heard if frame["type"] == "user_status"]
        assert [status["status"] for status in statuses if status["id"] == "dora"] == [True, False]


async def test_a_dashboard_of_an_admin_hears_and_is_not_seen(node: Chathub, tokens: Issuer) -> None:
    dashboard_token = tokens.token("boss", "admin", azp="WebClient")
    async with chatting(node.ws, tokens.token("ann")) as ann, chatting(node.ws, dashboard_token) as dashboard:
        await ann.say("under observation")
        await dashboard.hear("under observation")
        await ann.hear("under observation")
        users = (await dashboard.until("connected_users"))["users"]
        assert "boss" not in {user["id"] for user in users}
        assert "boss" not in {frame["payload"].get("id") for frame in ann.heard}


async def test_a_session_is_recorded(node: Chathub, tokens: Issuer, database_url: str) -> None:
    async with chatting(node.ws, tokens.token("frida")):
        pass
    connection = await asyncpg.connect(database_url)
    query = "select username, client_id, duration > interval '0' from chatserver.chat_sessions where user_id = 'frida'"
    row = await eventually(lambda: connection.fetchrow(query))
    assert row is not None
    assert tuple(row) == ("Frida", "ChatClient", True)
    await connection.close()


async def test_no_token_is_in_the_log(node: Chathub, tokens: Issuer) -> None:
    async with chatting(node.ws, tokens.token("ann")) as ann:
        await ann.say("a body that must not be logged")
        await ann.hear("a body that must not be logged")
    log = node.log.read_text()
    assert "connection open" in log
    assert "token=" not in log
    assert "eyJ" not in log
    assert "a body that must not be logged" not in log
