from datetime import UTC, datetime

import msgspec
import pytest

from chathub.core.bus_messages import (
    ChannelsChanged,
    DirectMessage,
    Message,
    RoomMessage,
    Unreadable,
    encode,
    message_key,
    read_control,
    read_message,
    subject_of,
)

WHEN = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
ROOM = RoomMessage(owner_id="a", username="A", channel_id=3, channel="c", message="é", authored_at=WHEN)
DIRECT = DirectMessage(
    owner_id="a", username="A", recipient_id="b", recipient="B", message="x", authored_at=WHEN, client_msg_id="m"
)


@pytest.mark.parametrize("message", [ROOM, DIRECT])
def test_a_message_survives_the_bus(message: Message) -> None:
    assert read_message(encode(message)) == message


def test_a_control_message_survives_the_bus() -> None:
    assert read_control(encode(ChannelsChanged())) == ChannelsChanged()


OTHER_VERSION = encode(msgspec.structs.replace(ROOM, v=2))


@pytest.mark.parametrize("data", [b"", b"\xff", b"{}", b"[]", b'{"type":"other"}', OTHER_VERSION])
def test_a_message_that_is_not_understood_is_unreadable_and_never_a_crash(data: bytes) -> None:
    with pytest.raises(Unreadable):
        read_message(data)


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b'{"type":"other"}', encode(ChannelsChanged(v=2))])
def test_a_notice_that_is_not_understood_is_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        read_control(data)


def test_subjects_are_made_of_ids() -> None:
    assert subject_of(ROOM) == "chat.in.room.3"
    assert subject_of(DIRECT) == "chat.in.dm.b"


def test_a_client_message_id_counts_for_its_user_alone() -> None:
    assert message_key(ROOM) is None
    assert message_key(DIRECT) == "a:m"
