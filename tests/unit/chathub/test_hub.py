import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from chathub.core.bus_messages import Amendment, DirectMessage, Position, RoomMessage, Stored
from chathub.core.channels import Channel
from chathub.core.client_frames import Frame
from chathub.core.hub import Member, Missed
from chathub.core.presence import User
from chathub.core.recent import PUBLIC
from chathub.core.signals import Place, ReadPosition, TypingNow
from tests.unit.chathub.present import Hearer, OpenHub

WHEN = datetime(2026, 1, 2, tzinfo=UTC)


class Ear(Hearer):
    """Remembers what it was sent."""

    def __init__(self, hub: OpenHub) -> None:
        super().__init__(hub.present)
        self.heard: list[dict[str, Any]] = []

    def push(self, frame: Frame) -> None:
        self.heard.append(json.loads(frame))

    def end(self, reason: str) -> None:
        self.heard.append({"type": "ended", "reason": reason})

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
def hub() -> OpenHub:
    hub = OpenHub()
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


def enter(hub: OpenHub, user: str, persisted: Sequence[Stored] = (), *, observer: bool = False) -> tuple[Member, Ear]:
    ear = Ear(hub)
    member = Member(User(user, user.upper()), ear, observer)
    hub.register(member)
    hub.enter(member, persisted)
    return member, ear


def test_the_frames_of_a_welcome_come_in_order(hub: OpenHub) -> None:
    hub.deliver(public(1))
    hub.deliver(private(2))
    _, ear = enter(hub, "b")
    assert ear.types() == ["bulk_chat_messages", "active_channels", "bulk_private_messages", "connected_users"]


def test_empty_histories_are_left_out(hub: OpenHub) -> None:
    _, ear = enter(hub, "b")
    assert ear.types() == ["active_channels", "connected_users"]


def test_history_and_live_meet_without_hole_or_double(hub: OpenHub) -> None:
    for sequence in range(1, 4):
        hub.deliver(public(sequence))
    member = Member(User("b", "B"), ear := Ear(hub), observer=False)
    hub.register(member)
    hub.deliver(public(4))  # between registration and entry
    hub.enter(member, [])
    hub.deliver(public(5))
    assert ear.sequences() == [1, 2, 3, 4, 5]


def test_only_the_latest_public_messages_are_kept(hub: OpenHub) -> None:
    for sequence in range(1, PUBLIC + 11):
        hub.deliver(public(sequence))
    _, ear = enter(hub, "b")
    assert ear.sequences() == list(range(11, PUBLIC + 11))


def test_messages_of_a_deleted_channel_are_not_shown(hub: OpenHub) -> None:
    hub.deliver(public(1, channel_id=99))
    _, ear = enter(hub, "b")
    assert ear.sequences() == []


def test_a_whisper_reaches_every_socket_of_the_two_and_nobody_else(hub: OpenHub) -> None:
    ears = {name: [enter(hub, name)[1], enter(hub, name)[1]] for name in "abc"}
    hub.deliver(private(1))
    assert all(ear.types()[-1] == "private_chat_message" for name in "ab" for ear in ears[name])
    assert all("private_chat_message" not in ear.types() for ear in ears["c"])


def test_a_whisper_to_oneself_comes_once(hub: OpenHub) -> None:
    _, ear = enter(hub, "a")
    hub.deliver(private(1, "a", "a"))
    assert ear.types().count("private_chat_message") == 1


def test_whispers_from_postgres_and_from_memory_are_joined_once_each(hub: OpenHub) -> None:
    for sequence in (1, 2, 3):
        hub.deliver(private(sequence))
    ahead = private(4)  # persisted by another node before it came here: it will come live
    _, ear = enter(hub, "b", [private(1), private(2), ahead])
    bulk = next(frame for frame in ear.heard if frame["type"] == "bulk_private_messages")
    assert [message["cacheID"] for message in bulk["payload"]["messages"]] == [1, 2, 3]


def test_a_user_is_announced_with_the_first_socket_and_leaves_with_the_last(hub: OpenHub) -> None:
    _, witness = enter(hub, "w")
    first, _ = enter(hub, "a")
    second, _ = enter(hub, "a")
    hub.announce(hub.roster.tick(1))
    hub.leave(first)
    hub.announce(hub.roster.tick(2))
    hub.leave(second)
    hub.announce(hub.roster.tick(3))
    hub.announce(hub.roster.tick(8))
    said = [frame["payload"] for frame in witness.heard if frame["type"] == "user_status"]
    statuses = [payload["status"] for payload in said if payload["id"] == "a"]
    assert statuses == [True, False]


def test_an_observer_sees_and_is_not_seen(hub: OpenHub) -> None:
    _, witness = enter(hub, "w")
    member, ear = enter(hub, "admin", observer=True)
    hub.deliver(public(1))
    hub.leave(member)
    hub.announce(hub.roster.tick(1))
    assert ear.types() == ["active_channels", "connected_users", "chat_message"]
    assert [user["id"] for user in ear.heard[1]["payload"]["users"]] == ["w"]
    assert "user_status" not in witness.types()


def test_who_was_refused_after_registration_was_never_there(hub: OpenHub) -> None:
    _, witness = enter(hub, "w")
    member = Member(User("x", "X"), ear := Ear(hub), observer=False)
    hub.register(member)
    hub.deliver(public(1))
    hub.leave(member)
    assert ear.heard == []
    assert "user_status" not in witness.types()


def test_who_writes_is_told_to_the_others_and_who_has_read_to_whom_it_concerns(hub: OpenHub) -> None:
    ears = {name: enter(hub, name)[1] for name in "abc"}
    again = enter(hub, "a")[1]
    hub.signal(TypingNow(user=("a", "A"), place=Place(channel_id=1)))
    hub.signal(TypingNow(user=("a", "A"), place=Place(recipient_id="b")))
    hub.signal(ReadPosition(user=("a", "A"), place=Place(channel_id=1), cache_id=7))
    hub.signal(ReadPosition(user=("a", "A"), place=Place(recipient_id="b"), cache_id=8))
    hub.signal(TypingNow(user=("a", "A"), place=Place(channel_id=99)))

    def told(ear: Ear) -> list[tuple[str, object]]:
        found = [frame for frame in ear.heard if frame["type"] in {"typing", "read"}]
        return [(frame["type"], frame["payload"].get("cacheID") or "channel" in frame["payload"]) for frame in found]

    assert told(ears["b"]) == [("typing", True), ("typing", False), ("read", 8)]
    assert told(ears["c"]) == [("typing", True)]
    assert told(ears["a"]) == told(again) == [("read", 7), ("read", 8)]


def test_who_is_sent_away_is_told_where_to_go_on(hub: OpenHub) -> None:
    hub.deliver(public(1))
    member, ear = enter(hub, "a")
    hub.send_away(member, 20)
    assert ear.heard[-2]["payload"] == {"resume": "1.1", "after_ms": 20}
    assert ear.heard[-1] == {"type": "ended", "reason": "restarting"}


def test_a_ban_ends_every_socket_also_one_on_its_way_in(hub: OpenHub) -> None:
    _, ear = enter(hub, "a")
    entering = Member(User("a", "A"), late := Ear(hub), observer=False)
    hub.register(entering)
    hub.banish("a")
    assert ear.heard[-1] == late.heard[-1] == {"type": "ended", "reason": "banned"}
    assert entering.banned


def closed_room(hub: OpenHub, *members: str, version: int = 1) -> None:
    hub.channels.replace(
        [Channel(1, "general", None, 1), Channel(2, "board", None, 2, frozenset(members), members_version=version)]
    )


def in_private(sequence: int, version: int = 1) -> Stored:
    stored = public(sequence, channel_id=2)
    assert isinstance(stored.message, RoomMessage)
    return Stored(stored.position, msgspec.structs.replace(stored.message, channel="board", members_version=version))


def test_what_is_said_in_a_private_channel_is_for_its_members(hub: OpenHub) -> None:
    closed_room(hub, "ann")
    _, ann = enter(hub, "ann")
    _, eve = enter(hub, "eve")
    _, dashboard = enter(hub, "boss", observer=True)
    hub.deliver(in_private(1))
    hub.deliver(public(2))
    assert (ann.sequences(), eve.sequences(), dashboard.sequences()) == ([1, 2], [2], [2])
    _, late_ann = enter(hub, "ann")
    _, late_eve = enter(hub, "eve")
    assert (late_ann.sequences(), late_eve.sequences()) == ([1, 2], [2])


def test_a_private_channel_that_is_not_known_here_is_open_to_nobody(hub: OpenHub) -> None:
    _, ann = enter(hub, "ann")
    hub.deliver(in_private(1))
    assert ann.sequences() == []


def test_everybody_is_shown_the_channels_that_are_open_to_them(hub: OpenHub) -> None:
    _, ann = enter(hub, "ann")
    _, eve = enter(hub, "eve")
    closed_room(hub, "ann")
    hub.announce_channels()
    shown = [[channel["name"] for channel in ear.heard[-1]["payload"]["channels"]] for ear in (ann, eve)]
    assert shown == [["general", "board"], ["general"]]


def test_who_writes_in_a_private_channel_is_told_to_its_other_members(hub: OpenHub) -> None:
    closed_room(hub, "ann", "bob")
    ears = {name: enter(hub, name)[1] for name in ("ann", "bob", "eve")}
    hub.signal(TypingNow(user=("ann", "Ann"), place=Place(channel_id=2)))
    assert {name: "typing" in ear.types() for name, ear in ears.items()} == {"ann": False, "bob": True, "eve": False}


def test_much_said_in_private_leaves_the_public_history_whole(hub: OpenHub) -> None:
    closed_room(hub, "ann")
    hub.deliver(public(1))
    for sequence in range(2, PUBLIC + 10):
        hub.deliver(in_private(sequence))
    assert enter(hub, "eve")[1].sequences() == [1]


def amending(sequence: int, text: str | None, *, channel_id: int | None = 1) -> Stored:
    """Of the message at the first place."""
    amendment = Amendment(
        target_epoch=1,
        target=1,
        owner_id="a",
        actor_id="a",
        message=text,
        authored_at=WHEN,
        channel_id=channel_id,
        recipient_id="" if channel_id else "b",
    )
    return Stored(Position(1, sequence), amendment)


@pytest.mark.parametrize("channel_id", [1, None])
def test_an_edit_that_comes_behind_the_deletion_shows_nothing(hub: OpenHub, channel_id: int | None) -> None:
    _, ear = enter(hub, "b")
    hub.deliver(public(1) if channel_id else private(1))
    hub.deliver(amending(2, None, channel_id=channel_id))
    hub.deliver(amending(3, "what was deleted", channel_id=channel_id))
    assert ear.types()[-1] == "message_deleted"
    assert hub.recent.last == Position(1, 3)
    assert hub.recent.since(Position(1, 2)) == hub.recent.latest() == hub.recent.private("b", [private(1)]) == []
    assert "what was deleted" not in str(hub.recent.remembered())


def test_who_comes_back_between_a_deletion_and_a_late_edit_is_shown_nothing_of_it(hub: OpenHub) -> None:
    late = amending(3, "what was deleted")
    for stored in (public(1), amending(2, None), late):
        hub.deliver(stored)
    member = Member(User("b", "B"), ear := Ear(hub), observer=False)
    hub.register(member)
    hub.enter(member, [], Missed(Position(1, 3), [late]))
    assert ear.types() == ["resumed", "active_channels", "connected_users"]


def test_who_comes_back_is_shown_no_wording_of_a_channel_that_is_gone(hub: OpenHub) -> None:
    hub.channels.replace([])
    for amendment, told in ((amending(2, "another wording"), []), (amending(2, None), ["message_deleted"])):
        member = Member(User("b", "B"), ear := Ear(hub), observer=False)
        hub.register(member)
        hub.enter(member, [], Missed(hub.recent.last, [amendment]))
        assert ear.types() == ["resumed", "active_channels", *told, "connected_users"]
