import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from chathub.core.bus_messages import DirectMessage, Position, RoomMessage, Stored
from chathub.core.channels import Channel, ChannelBook
from chathub.core.hub import Hub, Member
from chathub.core.outbox import Frame, Outbox
from chathub.core.presence import User
from chathub.core.recent import PUBLIC, Recent

WHEN = datetime(2026, 1, 2, tzinfo=UTC)


@dataclass(eq=False)
class Ear:
    """Remembers what it was sent."""

    heard: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def push(self, frame: Frame) -> None:
        self.heard.append(json.loads(frame.text))

    def welcome(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            self.push(frame)

    def types(self) -> list[str]:
        return [frame["type"] for frame in self.heard]

    def sequences(self) -> list[int]:
        """Of public messages, in the order in which they came."""
        found: list[int] = []
        for frame in self.heard:
            if frame["type"] == "bulk_chat_messages":
                found += [message["cacheID"] for message in frame["payload"]["messages"]]
            elif frame["type"] == "chat_message":
                found.append(frame["payload"]["cacheID"])
        return found


@pytest.fixture
def hub() -> Hub:
    book = ChannelBook()
    book.replace([Channel(1, "general", None, 1)])
    hub = Hub(Recent(), book)
    hub.recent.begin([], Position(1, 1))
    return hub


def public(sequence: int, channel_id: int = 1) -> Stored:
    message = RoomMessage(
        owner_id="a", username="A", channel_id=channel_id, channel="general", message="x", authored_at=WHEN
    )
    return Stored(Position(1, sequence), message)


def private(sequence: int, owner: str = "a", recipient: str = "b") -> Stored:
    message = DirectMessage(
        owner_id=owner, username=owner, recipient_id=recipient, recipient=recipient, message="x", authored_at=WHEN
    )
    return Stored(Position(1, sequence), message)


def enter(hub: Hub, user: str, persisted: Sequence[Stored] = (), *, observer: bool = False) -> tuple[Member, Ear]:
    ear = Ear()
    member = Member(User(user, user.upper()), ear, observer)
    hub.register(member)
    hub.enter(member, persisted)
    return member, ear


def test_the_frames_of_a_welcome_come_in_order(hub: Hub) -> None:
    hub.deliver(public(1))
    hub.deliver(private(2))
    _, ear = enter(hub, "b")
    assert ear.types() == ["bulk_chat_messages", "active_channels", "bulk_private_messages", "connected_users"]


def test_empty_histories_are_left_out(hub: Hub) -> None:
    _, ear = enter(hub, "b")
    assert ear.types() == ["active_channels", "connected_users"]


def test_history_and_live_meet_without_hole_or_double(hub: Hub) -> None:
    for sequence in range(1, 4):
        hub.deliver(public(sequence))
    member = Member(User("b", "B"), ear := Ear(), observer=False)
    hub.register(member)
    hub.deliver(public(4))  # between registration and entry
    hub.enter(member, [])
    hub.deliver(public(5))
    assert ear.sequences() == [1, 2, 3, 4, 5]


def test_only_the_latest_public_messages_are_kept(hub: Hub) -> None:
    for sequence in range(1, PUBLIC + 11):
        hub.deliver(public(sequence))
    _, ear = enter(hub, "b")
    assert ear.sequences() == list(range(11, PUBLIC + 11))


def test_messages_of_a_deleted_channel_are_not_shown(hub: Hub) -> None:
    hub.deliver(public(1, channel_id=99))
    _, ear = enter(hub, "b")
    assert ear.sequences() == []


def test_a_whisper_reaches_every_socket_of_the_two_and_nobody_else(hub: Hub) -> None:
    ears = {name: [enter(hub, name)[1], enter(hub, name)[1]] for name in "abc"}
    hub.deliver(private(1))
    assert all(ear.types()[-1] == "private_chat_message" for name in "ab" for ear in ears[name])
    assert all("private_chat_message" not in ear.types() for ear in ears["c"])


def test_a_whisper_to_oneself_comes_once(hub: Hub) -> None:
    _, ear = enter(hub, "a")
    hub.deliver(private(1, "a", "a"))
    assert ear.types().count("private_chat_message") == 1


def test_whispers_from_postgres_and_from_memory_are_joined_once_each(hub: Hub) -> None:
    for sequence in (1, 2, 3):
        hub.deliver(private(sequence))
    ahead = private(4)  # persisted by another node before it came here: it will come live
    _, ear = enter(hub, "b", [private(1), private(2), ahead])
    bulk = next(frame for frame in ear.heard if frame["type"] == "bulk_private_messages")
    assert [message["cacheID"] for message in bulk["payload"]["messages"]] == [1, 2, 3]


def test_a_user_is_announced_with_the_first_socket_and_leaves_with_the_last(hub: Hub) -> None:
    _, witness = enter(hub, "w")
    first, _ = enter(hub, "a")
    second, _ = enter(hub, "a")
    hub.leave(first)
    hub.leave(second)
    statuses = [frame["payload"]["status"] for frame in witness.heard if frame["type"] == "user_status"]
    assert statuses == [True, False]


def test_an_observer_sees_and_is_not_seen(hub: Hub) -> None:
    _, witness = enter(hub, "w")
    member, ear = enter(hub, "admin", observer=True)
    hub.deliver(public(1))
    hub.leave(member)
    assert ear.types() == ["active_channels", "connected_users", "chat_message"]
    assert [user["id"] for user in ear.heard[1]["payload"]["users"]] == ["w"]
    assert "user_status" not in witness.types()


def test_who_was_refused_after_registration_was_never_there(hub: Hub) -> None:
    _, witness = enter(hub, "w")
    member = Member(User("x", "X"), ear := Ear(), observer=False)
    hub.register(member)
    hub.deliver(public(1))
    hub.leave(member)
    assert ear.heard == []
    assert "user_status" not in witness.types()


def test_an_outbox_refuses_what_is_beyond_its_bytes_but_not_the_welcome() -> None:
    outbox = Outbox(10)
    outbox.welcome([Frame("x" * 50, 50)])
    assert outbox.put(Frame("y" * 10, 10))
    assert not outbox.put(Frame("z", 1))
    assert outbox.take() == Frame("x" * 50, 50)
