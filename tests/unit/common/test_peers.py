from collections import deque
from dataclasses import dataclass, field

import pytest

from common.core.epochs import EVERYTHING
from common.core.messages import InvalidMessage, decode, encode
from common.core.peers import MAX_PEERS, MAX_TOLD_TAGS, Bumped, Event, Missed, Notice, Peers, SignDue


@dataclass(slots=True)
class Room:
    """Processes that hear each other at once, in one order; `deaf` are those whose lines are cut."""

    now: float = 100.0
    peers: dict[str, Peers] = field(default_factory=dict[str, Peers])
    deaf: set[str] = field(default_factory=set[str])
    heard: dict[str, list[Event]] = field(default_factory=dict[str, list[Event]])

    def enter(self, *names: str, patience_seconds: float = 0.5) -> None:
        for name in names:
            self.peers[name] = Peers("room", name, silence_seconds=3, patience_seconds=patience_seconds)
            self.heard[name] = []
        self.beat(*names)
        self.heard = {name: [] for name in self.peers}

    def beat(self, *names: str) -> None:
        for name in names:
            self.say(name, self.peers[name].sign_of_life(self.now))

    def bump(self, name: str, *tags: str, owed: bool = False) -> int:
        notice = self.peers[name].bump(tags, self.now, owed=owed)
        self.say(name, notice)
        return notice.number

    def say(self, name: str, notice: Notice) -> None:
        """Signs of life that fall due are given, too."""
        said = deque([(name, notice)])
        while said:
            speaker, notice = said.popleft()
            for listener, peers in () if speaker in self.deaf else self.peers.items():
                events = [] if listener in self.deaf else peers.hear(notice, self.now)
                self.heard[listener] += [event for event in events if not isinstance(event, SignDue)]
                if any(isinstance(event, SignDue) for event in events):
                    said.append((listener, peers.sign_of_life(self.now)))

    def wait(self, seconds: float, *beating: str) -> None:
        for _ in range(round(seconds * 2)):
            self.now += 0.5
            self.beat(*(beating or tuple(self.peers)))
            for name, peers in self.peers.items():
                self.heard[name] += peers.drop_for_silent(self.now)

    def trusts(self, name: str) -> bool:
        return self.now < self.peers[name].trusted_until


@pytest.fixture
def room() -> Room:
    room = Room()
    room.enter("a", "b", "c")
    return room


def test_nobody_believes_before_it_heard_itself() -> None:
    peers = Peers("room", "a", silence_seconds=3, patience_seconds=1)
    assert str(peers.doubt(5)) == "the bus has not been heard yet"
    first = peers.sign_of_life(5)
    assert first.deaf
    assert peers.hear(first, 5.1) == [SignDue()]
    assert peers.doubt(5.1)
    second = peers.sign_of_life(5.1)
    assert not second.deaf
    assert peers.hear(second, 5.2) == []
    assert peers.doubt(5.2) is None
    assert peers.trusted_until == pytest.approx(8.1)


def test_a_bump_is_heard_by_all_and_certain_once_all_confirmed(room: Room) -> None:
    number = room.bump("a", "users", "posts")
    assert room.heard["b"] == room.heard["c"] == [Bumped(("users", "posts"), owed=False)]
    assert room.heard["a"] == []
    assert room.peers["a"].has_returned(number)
    assert room.peers["a"].is_confirmed(number)
    assert room.peers["a"].is_certain(number, room.now)


def test_a_lost_bump_is_noticed_with_the_next_word_of_its_sender(room: Room) -> None:
    room.deaf = {"b"}
    number = room.bump("a", "users")
    assert not room.peers["a"].is_confirmed(number)
    room.deaf = set()
    room.beat("a")
    assert room.heard["b"] == [Missed("a bump of another process was lost")]
    assert room.peers["a"].is_certain(number, room.now)


def test_a_bump_that_was_never_sent_is_noticed_too(room: Room) -> None:
    room.peers["a"].bump(("users",), room.now, owed=False)
    room.beat("a")
    assert room.heard["b"] == [Missed("a bump of another process was lost")]


def test_the_debt_of_a_bump_is_passed_on(room: Room) -> None:
    room.bump("a", "users", owed=True)
    assert room.heard["b"] == [Bumped(("users",), owed=True)]


def test_who_does_not_confirm_is_waited_for_and_then_excused(room: Room) -> None:
    room.deaf = {"b"}
    number = room.bump("a", "users")
    a = room.peers["a"]
    assert a.excused_at(number) == room.now + 0.5
    assert not a.is_certain(number, room.now + 3)
    assert a.is_certain(number, room.now + 3.5)
    later = room.bump("a", "posts")
    assert a.excused_at(later) == room.now + 0.5


def test_who_speaks_again_is_waited_for_again(room: Room) -> None:
    room.deaf = {"b"}
    number = room.bump("a", "users")
    room.now += 1
    sign = room.peers["b"].sign_of_life(room.now)
    assert not sign.deaf
    room.peers["a"].hear(sign, room.now)
    assert room.peers["a"].excused_at(number) == room.now + 0.5


def test_who_does_not_hear_itself_is_deaf_drops_everything_and_is_not_waited_for(room: Room) -> None:
    room.deaf = {"b"}
    room.wait(4)
    assert not room.trusts("b")
    assert room.peers["b"].doubt(room.now)
    sign = room.peers["b"].sign_of_life(room.now)
    assert sign.deaf
    room.peers["a"].hear(sign, room.now)
    number = room.bump("a", "users")
    assert room.peers["a"].is_confirmed(number)
    room.deaf = set()
    room.beat("b")
    assert room.trusts("b")
    assert Missed("the bus was not heard") in room.heard["b"]


def test_what_was_said_before_one_was_deaf_does_not_restore_belief(room: Room) -> None:
    b = room.peers["b"]
    late = b.sign_of_life(room.now + 2.9)
    assert b.sign_of_life(room.now + 3).deaf
    b.hear(late, room.now + 3.1)
    assert b.doubt(room.now + 3.1)


def test_the_silence_of_a_peer_drops_everything_once(room: Room) -> None:
    room.wait(5, "a", "b")
    assert room.heard["a"] == [Missed("another process fell silent")]
    assert room.trusts("a")


def test_a_farewell_leaves_nobody_waiting(room: Room) -> None:
    room.say("c", room.peers["c"].farewell(room.now))
    del room.peers["c"]
    number = room.bump("a", "users")
    assert room.peers["a"].is_confirmed(number)
    room.wait(5)
    assert Missed("another process fell silent") not in room.heard["a"]


def test_who_joins_asks_who_is_there_and_then_waits_for_them(room: Room) -> None:
    room.bump("a", "users")
    room.enter("d")
    room.deaf = {"b"}
    number = room.bump("d", "users")
    assert not room.peers["d"].is_confirmed(number)
    assert room.heard["a"] == [Bumped(("users",), owed=False)]


def test_who_is_met_late_may_have_said_something_before(room: Room) -> None:
    room.deaf = {"b"}
    room.enter("d")
    room.bump("d", "users")
    room.deaf = set()
    room.heard["b"] = []
    room.beat("d")
    assert room.heard["b"] == [Missed("a bump of another process was lost")]


def test_a_bump_of_very_many_tags_is_told_as_one_of_everything(room: Room) -> None:
    room.bump("a", *(str(number) for number in range(MAX_TOLD_TAGS + 1)))
    assert room.heard["b"] == [Bumped((EVERYTHING,), owed=False)]


def test_the_largest_notice_fits_into_a_message() -> None:
    tags = tuple("\x00" * 511 + chr(0x1F600 + number) for number in range(MAX_TOLD_TAGS))
    heard = {f"{number:016x}": 2**53 for number in range(MAX_PEERS)}
    notice = Notice(cache="c" * 64, source="s" * 16, number=2**53, sent=1e9, tags=tags, heard=heard)
    assert decode(Notice, encode(notice)) == notice


def test_peers_are_bounded_and_whoever_makes_room_costs_everything(room: Room) -> None:
    a = room.peers["a"]
    heard = [a.hear(Notice(cache="room", source=f"x{number}", number=0, sent=0.0), room.now) for number in range(300)]
    assert heard[0] == []
    assert heard[-1] == [Missed(f"more than {MAX_PEERS} processes")]


def test_other_caches_on_the_same_subject_are_none_of_our_business(room: Room) -> None:
    assert room.peers["a"].hear(Notice(cache="other", source="z", number=7, sent=0.0, tags=("users",)), room.now) == []


def test_a_notice_of_another_version_is_not_read() -> None:
    with pytest.raises(InvalidMessage):
        decode(Notice, b'{"v":2,"cache":"room","source":"z","number":7,"sent":0}')
