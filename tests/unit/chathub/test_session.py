import json
from datetime import UTC, datetime
from typing import Any

import pytest

from chathub.core.bus_messages import RoomMessage
from chathub.core.channels import Channel, ChannelBook
from chathub.core.flow import Flow
from chathub.core.lifetime import Lifetime, Patience
from chathub.core.presence import User
from chathub.core.session import (
    Action,
    Appended,
    BinaryReceived,
    ClientGone,
    Close,
    Event,
    NotAppended,
    Publish,
    PublishDirect,
    Reply,
    Session,
    Speaker,
    Tell,
    TextReceived,
    TimePassed,
    Verified,
    Verify,
)
from chathub.core.signals import Place, ReadPosition, TypingNow

WALL = datetime(2026, 1, 2, tzinfo=UTC)
DEADLINE = 100.0


@pytest.fixture
def session() -> Session:
    book = ChannelBook()
    book.replace([Channel(7, "general", None, 1)])
    return a_session(book)


def a_session(
    book: ChannelBook, *, burst: int = 10, idle: float = 0, is_admin: bool = False, observes: bool = False
) -> Session:
    speaker = Speaker(User("u1", "Ann"), "ChatClient", is_admin, observes)
    patience = Patience(warning=10, grace=5, idle=idle)
    lifetime = Lifetime(patience, expires_at=DEADLINE - 5, now=0)
    return Session(speaker, book, lifetime, Flow(per_second=1, burst=burst, now=0), max_message_length=20)


def handle(session: Session, event: Event, now: float = 0) -> list[Action]:
    return session.handle(event, now, WALL)


def payload(action: Action) -> dict[str, Any]:
    assert isinstance(action, Reply)
    return json.loads(action.frame)["payload"]


def say(**fields: str) -> TextReceived:
    return TextReceived(json.dumps({"type": "chat_message", "channel": "general", "message": "hi", **fields}))


def test_what_is_said_is_published_under_the_channels_id_and_the_tokens_name(session: Session) -> None:
    [action] = handle(session, say(owner_id="u2", username="Eve"))
    assert isinstance(action, Publish)
    message = action.message
    assert isinstance(message, RoomMessage)
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
    assert handle(session, TimePassed(), now=DEADLINE - 16) == []
    assert not session.closed


def test_bytes_close(session: Session) -> None:
    assert handle(session, BinaryReceived()) == [Close("binary")]
    assert session.closed


def test_a_client_that_left_ends_the_session_without_a_word(session: Session) -> None:
    assert handle(session, ClientGone()) == []
    assert session.closed


def test_the_end_of_a_token_is_told_before_once_and_what_comes_at_that_moment_counts(session: Session) -> None:
    assert session.deadline == DEADLINE - 15
    [warning, published] = handle(session, say(), now=DEADLINE - 14)
    assert payload(warning) == {"expires_in": 9}
    assert isinstance(published, Publish)
    assert handle(session, TimePassed(), now=DEADLINE - 13) == []
    assert session.deadline == DEADLINE


def verified(subject: str = "u1", client_id: str = "ChatClient", *, is_admin: bool = False) -> Verified:
    return Verified(subject, client_id, is_admin, 1000.0, 12345)


def test_a_newer_token_lets_the_session_go_on(session: Session) -> None:
    [action] = handle(session, TextReceived('{"type":"refresh","token":"t"}'))
    assert action == Verify("t")
    [action] = handle(session, verified(), now=DEADLINE - 1)
    assert payload(action) == {"expires_at": 12345}
    assert handle(session, TimePassed(), now=DEADLINE) == []
    assert session.deadline == DEADLINE - 1 + 1000 - 10


@pytest.mark.parametrize("newer", [verified("u2"), verified(client_id="WebClient")])
def test_a_token_of_somebody_else_closes_for_good(session: Session, newer: Verified) -> None:
    assert handle(session, newer) == [Close("wrong_token")]
    assert session.closed


def test_an_observer_whose_newer_token_lacks_the_role_sees_no_more() -> None:
    session = a_session(ChannelBook(), is_admin=True, observes=True)
    assert handle(session, verified(is_admin=True))[0] != Close("wrong_token")
    assert handle(session, verified()) == [Close("wrong_token")]


def test_who_is_silent_for_too_long_is_closed_and_who_speaks_is_not(session: Session) -> None:
    session = a_session(ChannelBook(), idle=30)
    handle(session, say(), now=20)
    assert session.deadline == 50
    assert handle(session, TimePassed(), now=30) == []
    assert handle(session, TimePassed(), now=50) == [Close("idle")]


def test_too_many_frames_are_dropped_with_a_word_and_then_the_socket_is_closed() -> None:
    session = a_session(ChannelBook(), burst=2)
    text = TextReceived("{}")
    answers = [handle(session, text) for _ in range(5)]
    assert [payload(answer[0]).get("code") for answer in answers[:2]] == ["unknown_type"] * 2
    assert [payload(answer[0])["retry_after_ms"] for answer in answers[2:4]] == [2000, 3000]
    assert answers[4] == [Close("flooding")]


def test_what_is_not_kept_is_told_under_the_name_of_the_token(session: Session) -> None:
    def told(**fields: object) -> Action:
        return handle(session, TextReceived(json.dumps(fields)))[0]

    ann = ("u1", "Ann")
    assert told(type="typing", channel="general") == Tell(TypingNow(ann, Place(channel_id=7)))
    assert told(type="typing", recipient_id="u2") == Tell(TypingNow(ann, Place(recipient_id="u2")))
    assert told(type="read", channel="general", cacheID=4) == Tell(ReadPosition(ann, Place(channel_id=7), 4))
    assert payload(told(type="typing", channel="nowhere"))["code"] == "unknown_channel"
    assert payload(told(type="read", channel="general"))["code"] == "malformed"
