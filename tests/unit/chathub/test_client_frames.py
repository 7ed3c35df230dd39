import contextlib
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chathub.core import client_frames
from chathub.core.bus_messages import DirectMessage, Position, RoomMessage, Stored
from chathub.core.channels import Channel
from chathub.core.client_frames import BadFrame, Say, Whisper, parse

WHEN = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)


def refusal(text: str) -> str:
    with pytest.raises(BadFrame) as refused:
        parse(text, max_length=10)
    return refused.value.reason


def test_a_chat_message_is_read() -> None:
    text = '{"type":"chat_message","channel":"general","message":"hi"}'
    assert parse(text, max_length=10) == Say("general", "hi", None)


def test_a_private_message_is_read_with_its_client_id() -> None:
    text = '{"type":"private_chat_message","recipient_id":"bob","message":"hi","client_msg_id":"a-1"}'
    assert parse(text, max_length=10) == Whisper("bob", "hi", "a-1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "malformed"),
        ("not json", "malformed"),
        ("[]", "malformed"),
        ("null", "malformed"),
        ('"chat_message"', "malformed"),
        ("[" * 100_000, "malformed"),
        ('{"type":7}', "malformed"),
        ("{}", "unknown_type"),
        ('{"type":"user_status"}', "unknown_type"),
        ('{"type":"chat_message","message":"hi"}', "malformed"),
        ('{"type":"chat_message","channel":"general"}', "malformed"),
        ('{"type":"chat_message","channel":"general","message":7}', "malformed"),
        ('{"type":"chat_message","channel":"general","message":" \\n "}', "empty"),
        ('{"type":"chat_message","channel":"general","message":"12345678901"}', "too_long"),
        ('{"type":"chat_message","channel":"general","message":"a\\u0000b"}', "unsupported_text"),
        ('{"type":"chat_message","channel":"general","message":"hi","client_msg_id":"a\\r\\nb"}', "malformed"),
        ('{"type":"chat_message","channel":"general","message":"hi","client_msg_id":""}', "malformed"),
        ('{"type":"private_chat_message","recipient_id":"*","message":"hi"}', "unknown_recipient"),
        ('{"type":"private_chat_message","recipient_id":"a.b","message":"hi"}', "unknown_recipient"),
        ('{"type":"private_chat_message","recipient_id":">","message":"hi"}', "unknown_recipient"),
    ],
)
def test_a_frame_that_is_no_message_is_refused_with_a_reason(text: str, reason: str) -> None:
    assert refusal(text) == reason


def test_half_a_surrogate_pair_is_refused() -> None:
    assert refusal('{"type":"chat_message","channel":"general","message":"\\ud800"}') in {
        "malformed",
        "unsupported_text",
    }


def test_length_counts_characters_not_bytes() -> None:
    assert parse(json.dumps({"type": "chat_message", "channel": "c", "message": "é" * 10}), max_length=10)


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    with contextlib.suppress(BadFrame):
        parse(text, max_length=10)


def test_a_public_message_has_onrabbles_shape() -> None:
    message = RoomMessage(
        owner_id="u1", username="Ann", channel_id=3, channel="general", message="hi", authored_at=WHEN
    )
    assert json.loads(client_frames.message_frame(Stored(Position(1, 42), message))) == {
        "type": "chat_message",
        "sender": "Ann",
        "payload": {
            "cacheID": 42,
            "owner_id": "u1",
            "username": "Ann",
            "channel": "general",
            "message": "hi",
            "authored_at": "2026-01-02T03:04:05.678900Z",
        },
    }


def test_a_private_message_has_onrabbles_shape() -> None:
    message = DirectMessage(
        owner_id="u1", username="Ann", recipient_id="u2", recipient="Bob", message="hi", authored_at=WHEN
    )
    frame = json.loads(client_frames.message_frame(Stored(Position(1, 42), message)))
    assert frame["type"] == "private_chat_message"
    assert list(frame["payload"]) == [
        *("cacheID", "owner_id", "username", "recipient_id", "recipient", "message", "authored_at")
    ]


def test_empty_lists_are_never_null() -> None:
    assert json.loads(client_frames.connected_users([]))["payload"] == {"users": []}
    assert json.loads(client_frames.active_channels([]))["payload"] == {"channels": []}


def test_a_channel_without_description_has_no_such_key() -> None:
    assert "description" not in client_frames.channel_payload(Channel(1, "general", None, 1))


def test_a_history_too_large_for_one_frame_keeps_the_newest_in_order() -> None:
    messages = [
        Stored(
            Position(1, sequence),
            RoomMessage(owner_id="a", username="A", channel_id=1, channel="c", message="é" * 2000, authored_at=WHEN),
        )
        for sequence in range(1, 501)
    ]
    frame = client_frames.bulk_chat_messages(messages)
    sequences = [message["cacheID"] for message in json.loads(frame)["payload"]["messages"]]
    assert len(frame) < client_frames.MAX_BULK_BYTES + 1000
    assert sequences == list(range(sequences[0], 501))
    assert len(sequences) > 100
