from datetime import UTC, datetime

import msgspec
import pytest

from chathub.core.bus_messages import (
    Amendment,
    DirectMessage,
    Message,
    Position,
    RoomMessage,
    Stored,
    Traces,
    Unreadable,
    encode,
    message_key,
    read_message,
    read_traces,
    said_at,
    subject_of,
    superseded,
)

WHEN = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
ROOM = RoomMessage(owner_id="a", username="A", channel_id=3, channel="c", message="é", authored_at=WHEN)
DIRECT = DirectMessage(
    owner_id="a", username="A", recipient_id="b", recipient="B", message="x", authored_at=WHEN, client_msg_id="m"
)


DELETION = Amendment(
    target_epoch=1, target=2, owner_id="a", actor_id="admin", message=None, authored_at=WHEN, channel_id=3
)


@pytest.mark.parametrize("message", [ROOM, DIRECT, DELETION])
def test_a_message_survives_the_bus(message: Message) -> None:
    assert read_message(encode(message)) == message


OTHER_VERSION = encode(msgspec.structs.replace(ROOM, v=2))


@pytest.mark.parametrize("data", [b"", b"\xff", b"{}", b"[]", b'{"type":"other"}', OTHER_VERSION])
def test_a_message_that_is_not_understood_is_unreadable_and_never_a_crash(data: bytes) -> None:
    with pytest.raises(Unreadable):
        read_message(data)


def test_subjects_are_made_of_ids() -> None:
    assert subject_of(ROOM) == "chat.in.room.3"
    assert subject_of(DIRECT) == "chat.in.dm.b"
    assert subject_of(DELETION) == f"{subject_of(ROOM)}.{DELETION.target_epoch}-{DELETION.target}"


def test_a_client_message_id_counts_for_its_user_alone() -> None:
    assert message_key(ROOM) is None
    assert message_key(DIRECT) == "a:m"


HERE = Position(1, 9)


def test_of_what_cannot_be_stored_it_is_told_whose_it_is_and_of_which_message_it_speaks() -> None:
    assert read_traces(encode(ROOM)) == Traces("a")
    assert read_traces(encode(ROOM)).about(HERE) == HERE
    assert read_traces(encode(DELETION)).about(HERE) == Position(1, 2)
    assert read_traces(OTHER_VERSION) == Traces("a")


TOO_GREAT = b'{"target_epoch":1,"target":%d}' % 2**63


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"owner_id":7}',
        b'{"owner_id":"a\\u0000"}',
        b'{"target":-1}',
        b'{"target":9e99}',
        TOO_GREAT,
    ],
)
def test_traces_are_only_what_postgresql_takes(data: bytes) -> None:
    assert read_traces(data) == Traces()
    assert read_traces(data).about(HERE) == HERE


def test_an_entry_is_deleted_as_a_message_only_if_it_is_one_and_lies_where_it_belongs() -> None:
    assert said_at(HERE, "chat.in.room.3", encode(ROOM)) == Stored(HERE, ROOM)
    assert said_at(HERE, "chat.in.room.4", encode(ROOM)) is None
    assert said_at(HERE, "chat.in.room.3", encode(DELETION)) is None
    assert said_at(HERE, "chat.in.dm.b.c", encode(msgspec.structs.replace(DIRECT, recipient_id="b.c"))) is None
    assert said_at(HERE, "chat.in.room.3", b"{}") is None


def changes(*texts: str | None) -> list[Stored]:
    """What became of the message at 1.2, from place 11 on."""
    entries = [msgspec.structs.replace(DELETION, message=text) for text in texts]
    return [Stored(Position(1, place), entry) for place, entry in enumerate(entries, 11)]


def test_of_edits_the_last_is_needed_and_the_message_itself() -> None:
    assert superseded(changes("one")) == []
    assert superseded(changes("one", "two", "three")) == [(1, 11), (1, 12)]


def test_of_what_is_deleted_nothing_is_needed_but_the_deletion() -> None:
    assert superseded(changes(None)) == [(1, 2)]
    assert superseded(changes("one", None)) == [(1, 11), (1, 2)]


def test_what_comes_behind_a_deletion_is_needed_by_nobody() -> None:
    assert superseded(changes(None, "too late", None)) == [(1, 12), (1, 13), (1, 2)]
