import json
from datetime import UTC, datetime
from typing import Any

import pytest

from chathub.core.channels import Channel, ChannelBook
from chathub.core.presence import User
from chathub.core.session import (
    Action,
    Appended,
    BinaryReceived,
    ClientGone,
    Close,
    Event,
    FellBehind,
    NotAppended,
    Publish,
    PublishDirect,
    Reply,
    Session,
    TextReceived,
    TimePassed,
)

WALL = datetime(2026, 1, 2, tzinfo=UTC)
DEADLINE = 100.0


@pytest.fixture
def session() -> Session:
    book = ChannelBook()
    book.replace([Channel(7, "general", None, 1)])
    return Session(User("u1", "Ann"), book, deadline=DEADLINE, max_message_length=20)


def handle(session: Session, event: Event, now: float = 0) -> list[Action]:
    return session.handle(event, now, WALL)


def payload(action: Action) -> dict[str, Any]:
    assert isinstance(action, Reply)
    return json.loads(action.frame.text)["payload"]


def say(**fields: str) -> TextReceived:
    return TextReceived(json.dumps({"type": "chat_message", "channel": "general", "message": "hi", **fields}))


def test_what_is_said_is_published_under_the_channels_id_and_the_tokens_name(session: Session) -> None:
    [action] = handle(session, say(owner_id="u2", username="Eve"))
    assert isinstance(action, Publish)
    message = action.message
    assert (message.channel_id, message.owner_id, message.username, message.authored_at) == (7, "u1", "Ann", WALL)


def test_a_whisper_is_published_once_its_recipient_is_known(session: Session) -> None:
    text = json.dumps({"type": "private_chat_message", "recipient_id": "u2", "message": "psst"})
    [action] = handle(session, TextReceived(text))
    assert isinstance(action, PublishDirect)
    assert action.message.recipient_id == "u2"


def test_an_unknown_channel_is_an_error_and_the_session_lives(session: Session) -> None:
    [action] = handle(session, say(channel="nowhere", client_msg_id="m1"))
    assert payload(action)["code"] == "unknown_channel"
    assert payload(action)["client_msg_id"] == "m1"
    assert not session.closed


def test_an_acknowledged_message_is_acked_to_who_named_it(session: Session) -> None:
    [action] = handle(session, Appended("m1", 42))
    assert payload(action) == {"client_msg_id": "m1", "cacheID": 42}
    assert handle(session, Appended(None, 43)) == []


def test_a_message_that_was_not_taken_is_never_silence(session: Session) -> None:
    [action] = handle(session, NotAppended(None, "upstream_unavailable", "NATS is not connected."))
    assert payload(action) == {"code": "upstream_unavailable", "message": "NATS is not connected."}


@pytest.mark.parametrize("event", [say(), TimePassed()])
def test_an_expired_token_closes_whatever_comes(session: Session, event: Event) -> None:
    assert handle(session, event, now=DEADLINE) == [Close("token_expired")]
    assert session.closed


def test_an_acknowledgement_is_passed_on_even_when_the_token_expired_meanwhile(session: Session) -> None:
    [action] = handle(session, Appended("m1", 42), now=DEADLINE)
    assert isinstance(action, Reply)


def test_time_that_passes_early_changes_nothing(session: Session) -> None:
    assert handle(session, TimePassed(), now=DEADLINE - 1) == []
    assert not session.closed


@pytest.mark.parametrize(("event", "reason"), [(BinaryReceived(), "binary"), (FellBehind(), "too_slow")])
def test_what_cannot_go_on_is_closed_with_its_reason(session: Session, event: Event, reason: Any) -> None:
    assert handle(session, event) == [Close(reason)]
    assert session.closed


def test_a_client_that_left_ends_the_session_without_a_word(session: Session) -> None:
    assert handle(session, ClientGone()) == []
    assert session.closed
