"""Nodes over one log, with whatever may happen between them: what a client is sent over all its lives is the log."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chathub.core.bus_messages import Amendment, DirectMessage, Message, Position, RoomMessage, Stored, concerns
from chathub.core.client_frames import Frame
from chathub.core.hub import Member, Missed
from chathub.core.presence import User
from chathub.core.resume import LogBounds, Loss, as_it_stands, loss
from chathub.core.room_feed import Duplicate, Gap, RoomFeed
from tests.unit.chathub.present import Hearer, OpenHub, Present

WHEN = datetime(2026, 1, 2, tzinfo=UTC)
USERS = ("ann", "bob", "carl")
NODES = 2
BEFORE_ALL = Position(0, 0)


@dataclass
class Log:
    """The one log: what is stored, from where on; the places of deleted entries are empty."""

    epoch: int = 1
    first: int = 1
    last: int = 0
    entries: dict[int, Message] = field(default_factory=dict[int, Message])
    expired: dict[int, Message] = field(default_factory=dict[int, Message])
    """Gone from here; a live copy of one may still be on its way."""

    def append(self, message: Message) -> int:
        self.last += 1
        self.entries[self.last] = message
        return self.last

    def read(self, first: int, last: int) -> list[Stored]:
        return [
            Stored(Position(self.epoch, sequence), self.entries[sequence])
            for sequence in range(max(first, self.first), last + 1)
            if sequence in self.entries
        ]

    def bounds(self) -> LogBounds:
        return LogBounds(self.epoch, self.first, self.last)


class Client(Hearer):
    """Remembers where it stands as the frames say it, and what it was shown since it was last told of a loss."""

    def __init__(self, user: str) -> None:
        super().__init__(Present())
        self.user = user
        self.position: Position | None = None
        self.since = BEFORE_ALL
        self.shown: list[int] = []
        self.losses = 0

    def at(self, present: Present) -> "Client":
        self._present = present
        return self

    def push(self, frame: Frame) -> None:
        told = json.loads(frame)
        payload = told["payload"]
        match told["type"]:
            case "resumed":
                self._resumed(payload)
            case "chat_message" | "private_chat_message":
                self._heard(payload["cacheID"])
            case "message_edited" | "message_deleted":
                self._heard(payload["sequence"])
            case _:
                pass

    def _resumed(self, payload: dict[str, object]) -> None:
        if not payload["recovered"]:
            self.losses += 1
            self.shown.clear()
            self.since = Position(int(str(payload["epoch"])), int(str(payload["cacheID"])))
            self.position = self.since

    def _heard(self, sequence: int) -> None:
        assert self.position is not None
        self.shown.append(sequence)
        self.position = Position(self.position.epoch, sequence)


class Node:
    def __init__(self, log: Log) -> None:
        self.hub = OpenHub()
        self.log = log
        self.epoch = log.epoch
        self.feed = RoomFeed(0)
        self.waiting: list[int] = []
        self.begin()

    def begin(self) -> None:
        first = max(self.log.first, self.log.last - 5)
        self.feed = RoomFeed(first - 1)
        self.hub.recent.begin([], Position(self.log.epoch, first))
        self.catch_up(self.log.last)

    def hear(self, sequence: int) -> None:
        verdict = self.feed.accept(sequence)
        if isinstance(verdict, Gap):
            self.catch_up(verdict.last)
            verdict = self.feed.accept(sequence)
        message = self.log.entries.get(sequence) or self.log.expired.get(sequence)
        if not isinstance(verdict, Duplicate) and message:
            self.hub.deliver(Stored(Position(self.log.epoch, sequence), message))

    def catch_up(self, last: int) -> None:
        if self.epoch != self.log.epoch:
            self.epoch = self.log.epoch
            self.feed = RoomFeed(self.log.first - 1)
            self.hub.interrupt(Position(self.log.epoch, self.log.first), "other_log")
        for stored in self.log.read(self.feed.position + 1, last):
            self.pass_over(stored.position.sequence - 1)
            self.feed.accept(stored.position.sequence)
            self.hub.deliver(stored)
        self.pass_over(last)

    def pass_over(self, last: int) -> None:
        if last > self.feed.position:
            if self.log.first > self.feed.position + 1:
                self.hub.interrupt(Position(self.log.epoch, self.log.first), "expired")
            self.feed.skip_to(last)
            self.hub.recent.passed(Position(self.log.epoch, last))

    def missed(self, position: Position | None) -> Missed | Loss:
        if position is None:
            return "new"
        if self.hub.recent.since(position) is not None:
            return Missed(position, ())
        if why := loss(position, self.log.bounds()):
            return why
        self.catch_up(max(position.sequence, self.feed.position))
        upto = self.hub.recent.last
        return Missed(upto, self.log.read(position.sequence + 1, upto.sequence))


class ManyNodes(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.log = Log()
        self.truth: dict[int, Message] = {}
        self.nodes = [Node(self.log) for _ in range(NODES)]
        self.clients = [Client(user) for user in USERS]
        self.where: dict[int, tuple[int, Member]] = {}

    @rule(user=st.sampled_from(USERS), to=st.sampled_from((*USERS, "")), copies=st.lists(st.integers(0, 2), max_size=2))
    def say(self, user: str, to: str, copies: list[int]) -> None:
        """Its live copies reach each node never, once or twice, and wait there to be heard in any order."""
        self._append(whisper(user, to) if to else said(user), copies)

    @precondition(lambda self: self.log.last > 0)
    @rule(back=st.integers(0, 6), copies=st.lists(st.integers(0, 2), max_size=2))
    def delete(self, back: int, copies: list[int]) -> None:
        target = self.log.last - back
        message = self.log.entries.get(target)
        if isinstance(message, RoomMessage):
            self._append(deletion(self.log.epoch, target, message), copies)
            del self.log.entries[target]
            self.truth.pop(target)

    @rule(node=st.integers(0, NODES - 1), index=st.integers(0, 20))
    def hear_one(self, node: int, index: int) -> None:
        waiting = self.nodes[node].waiting
        if waiting:
            self.nodes[node].hear(waiting.pop(index % len(waiting)))

    @rule(node=st.integers(0, NODES - 1))
    def look_after_the_log(self, node: int) -> None:
        self.nodes[node].catch_up(self.log.last)

    @rule(node=st.integers(0, NODES - 1))
    def die(self, node: int) -> None:
        for client in [client for client, (at, _) in self.where.items() if at == node]:
            del self.where[client]
        self.nodes[node] = Node(self.log)

    @rule(client=st.integers(0, len(USERS) - 1))
    def leave(self, client: int) -> None:
        if client in self.where:
            node, member = self.where.pop(client)
            self.nodes[node].hub.leave(member)

    @rule(client=st.integers(0, len(USERS) - 1), node=st.integers(0, NODES - 1))
    def come(self, client: int, node: int) -> None:
        if client not in self.where:
            at = self.nodes[node]
            one = self.clients[client].at(at.hub.present)
            member = Member(User(one.user, one.user), one, observer=False)
            at.hub.register(member)
            at.hub.enter(member, (), at.missed(one.position))
            self.where[client] = (node, member)

    @rule(count=st.integers(1, 4))
    def expire(self, count: int) -> None:
        self.log.first = min(self.log.first + count, self.log.last + 1)
        for sequence in [sequence for sequence in self.log.entries if sequence < self.log.first]:
            self.log.expired[sequence] = self.log.entries.pop(sequence)

    @rule()
    def replace_the_log(self) -> None:
        """Somebody deleted it; the nodes find out, as they do within seconds, and follow the new one."""
        self.log.epoch, self.log.first, self.log.last = self.log.epoch + 1, 1, 0
        self.log.entries.clear()
        self.log.expired.clear()
        self.truth.clear()
        for node in self.nodes:
            node.waiting.clear()
            node.catch_up(0)

    @invariant()
    def every_client_was_shown_the_log_and_nothing_else(self) -> None:
        for client in self.clients:
            if client.position is None or client.position.epoch != self.log.epoch:
                continue
            between = range(client.since.sequence + 1, client.position.sequence + 1)
            owed = [n for n in between if n in self.truth and concerns(self.truth[n], client.user)]
            assert client.shown == sorted(set(client.shown)), "in order, none twice"
            assert set(owed) <= set(client.shown), "none left out"

    @invariant()
    def who_is_connected_stands_where_the_node_stands(self) -> None:
        for client, (node, _) in self.where.items():
            last, position = self.nodes[node].feed.position, self.clients[client].position
            assert position is not None
            owed = [n for n in self.truth if position.sequence < n <= last]
            assert not any(concerns(self.truth[n], self.clients[client].user) for n in owed)

    def _append(self, message: Message, copies: list[int]) -> None:
        sequence = self.log.append(message)
        self.truth[sequence] = message
        for node, count in zip(self.nodes, copies, strict=False):
            node.waiting += [sequence] * count


TestManyNodes = ManyNodes.TestCase
TestManyNodes.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def said(user: str) -> RoomMessage:
    return RoomMessage(owner_id=user, username=user, channel_id=1, channel="general", message="x", authored_at=WHEN)


def whisper(user: str, to: str) -> DirectMessage:
    return DirectMessage(owner_id=user, username=user, recipient_id=to, recipient=to, message="x", authored_at=WHEN)


def deletion(epoch: int, target: int, message: RoomMessage) -> Amendment:
    return Amendment(
        target_epoch=epoch,
        target=target,
        owner_id=message.owner_id,
        actor_id=message.owner_id,
        message=None,
        authored_at=WHEN,
        channel_id=message.channel_id,
    )


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["edit", "delete"])), max_size=12))
def test_a_stretch_of_the_log_is_shown_as_it_ends(changes: list[tuple[int, str]]) -> None:
    entries: list[Message] = [said("ann") for _ in range(6)]
    for target, change in changes:
        text = None if change == "delete" else "edited"
        entries.append(
            Amendment(
                target_epoch=1,
                target=target + 1,
                owner_id="ann",
                actor_id="ann",
                message=text,
                authored_at=WHEN,
                channel_id=1,
            )
        )
    stretch = [Stored(Position(1, number), message) for number, message in enumerate(entries, 1)]
    shown = {position.sequence: message for position, message in as_it_stands(stretch)}
    for target in range(6):
        mine = [change for at, change in changes if at == target]
        if "delete" in mine:
            assert target + 1 not in shown
        else:
            assert shown[target + 1].message == ("edited" if mine else "x")
    told = [message for sequence, message in shown.items() if sequence > 6]
    assert all(isinstance(message, Amendment) for message in told)
    assert [message.message for message in told].count(None) == len(
        {at for at, change in changes if change == "delete"}
    )
    assert len(told) == len({at for at, _ in changes}), "of each message what became of it, and nothing before that"


def test_why_a_place_cannot_be_resumed_from_is_told_apart() -> None:
    log = LogBounds(epoch=7, first=10, last=20_000)
    assert loss(None, log) == "new"
    assert loss(Position(6, 15), log) == "other_log"
    assert loss(Position(7, 8), log) == "expired"
    assert loss(Position(7, 20_001), log) == "unknown"
    assert loss(Position(7, 9), log) == "too_far"
    assert loss(Position(7, 10_000), log) is None
    assert loss(Position(7, 20_000), log) is None
