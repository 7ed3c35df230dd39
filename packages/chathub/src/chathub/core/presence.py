"""Who is connected, over all nodes. Each node tells the others of its own users; all come to the same view.

A node's users are a set with a version that grows by one with every report. Whoever missed a report sees it by the
number, and asks for the whole set. A node that is silent is dead, and its users are gone with it. A user who is gone
from everywhere is still shown for a while: most who leave come back at once, on another node.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from common.core.messages import Message

UNBOUNDED = 1_000_000_000
CHUNK = 5000
"""Users in one report, so that it fits into one message of the bus."""


@dataclass(frozen=True, slots=True)
class User:
    id: str
    username: str


class Report(Message, frozen=True):
    """A change of one node's users, or with `whole` all of them; nothing of either is a sign of life.

    `wanted` names a node that is to tell all of its users.
    """

    node: str
    version: int
    wanted: str = ""
    whole: bool = False
    leaving: bool = False
    joined: tuple[tuple[str, str], ...] = ()
    left: tuple[str, ...] = ()


class Change(NamedTuple):
    user: User
    present: bool


@dataclass(slots=True)
class _Node:
    version: int
    heard_at: float
    users: dict[str, User] = field(default_factory=dict[str, User])


class Roster:
    def __init__(self, node: str, *, dead_seconds: float, grace_seconds: float) -> None:
        self.node = node
        self._dead_seconds = dead_seconds
        self._grace_seconds = grace_seconds
        self._sockets: Counter[str] = Counter()
        self._mine: dict[str, User] = {}
        self._reported: dict[str, User] = {}
        self._version = 0
        self._others: dict[str, _Node] = {}
        self._nodes_of: Counter[str] = Counter()
        self._shown: dict[str, User] = {}
        self._touched: dict[str, User] = {}
        self._gone_since: dict[str, float] = {}

    # What happens here

    def join(self, user: User) -> None:
        self._sockets[user.id] += 1
        if self._sockets[user.id] == 1:
            self._mine[user.id] = user
            self._appeared(user)

    def leave(self, user: User) -> None:
        self._sockets[user.id] -= 1
        if not self._sockets[user.id]:
            del self._sockets[user.id]
            self._vanished(self._mine.pop(user.id))

    # What the others tell

    def heard(self, report: Report, now: float) -> bool:
        """False if an earlier report of that node was missed: ask it for the whole."""
        if report.node == self.node:
            return True
        if report.leaving:
            self._forget(report.node)
            return True
        known = self._others.get(report.node)
        if report.whole:
            known = known or self._others.setdefault(report.node, _Node(0, now))
            self._replace(known, report)
        elif known is None or not self._follows(known, report):
            return False
        known.heard_at = now
        return True

    def tick(self, now: float, *, deaf: bool = False, most: int = UNBOUNDED) -> list[Change]:
        """What changed for those who watch, since the last tick: once a user, however often they came and went.

        At most so many; the others follow, if by then it is still so. While this node is `deaf`, silence of the others
        says nothing about them.
        """
        if deaf:
            for other in self._others.values():
                other.heard_at = now
        for node in [id for id, other in self._others.items() if now - other.heard_at > self._dead_seconds]:
            self._forget(node)
        changes: list[Change] = []
        while self._touched and len(changes) < most:
            user = self._touched.pop(next(iter(self._touched)))
            if self._nodes_of[user.id]:
                self._gone_since.pop(user.id, None)
                if user.id not in self._shown:
                    self._shown[user.id] = user
                    changes.append(Change(user, present=True))
            elif user.id in self._shown:
                self._gone_since.setdefault(user.id, now)
        return changes + self._after_grace(now, most - len(changes))

    def users(self) -> list[User]:
        """Those shown, and those who came here just now."""
        return list({**self._shown, **self._mine}.values())

    def nodes(self) -> int:
        return 1 + len(self._others)

    # What the others are told

    def changes(self) -> list[Report]:
        """What has become of this node's users since the last report; may be nothing."""
        if self._mine == self._reported:
            return []
        joined = [(id, user.username) for id, user in self._mine.items() if self._reported.get(id) != user]
        left = tuple(id for id in self._reported if id not in self._mine)
        self._reported = dict(self._mine)
        return self._reports(joined, left=left)

    def whole(self) -> list[Report]:
        self._reported = dict(self._mine)
        return self._reports([(id, user.username) for id, user in self._mine.items()], whole=True)

    def alive(self) -> Report:
        return Report(node=self.node, version=self._version)

    def wanting(self, node: str) -> Report:
        return Report(node=self.node, version=self._version, wanted=node)

    def leaving(self) -> Report:
        return Report(node=self.node, version=self._version, leaving=True)

    def _reports(
        self, joined: Sequence[tuple[str, str]], *, left: tuple[str, ...] = (), whole: bool = False
    ) -> list[Report]:
        found: list[Report] = []
        for start in range(0, max(len(joined), len(left), 1), CHUNK):
            self._version += 1
            end = start + CHUNK
            found.append(
                Report(
                    node=self.node,
                    version=self._version,
                    whole=whole and start == 0,
                    joined=tuple(joined[start:end]),
                    left=left[start:end],
                )
            )
        return found

    # One node's users

    def _follows(self, known: _Node, report: Report) -> bool:
        changes = bool(report.joined or report.left)
        if report.version != known.version + changes:
            return report.version <= known.version and changes  # an old one, come late, says nothing new
        known.version = report.version
        for id in report.left:
            if user := known.users.pop(id, None):
                self._vanished(user)
        self._add(known, report)
        return True

    def _replace(self, known: _Node, report: Report) -> None:
        if report.version <= known.version:
            return
        known.version = report.version
        staying = {id for id, _ in report.joined}
        for user in [user for id, user in known.users.items() if id not in staying]:
            del known.users[user.id]
            self._vanished(user)
        self._add(known, report)

    def _add(self, known: _Node, report: Report) -> None:
        for id, username in report.joined:
            user = User(id, username)
            if id not in known.users:
                self._appeared(user)
            known.users[id] = user

    def _forget(self, node: str) -> None:
        if known := self._others.pop(node, None):
            for user in known.users.values():
                self._vanished(user)

    # One user over all nodes

    def _appeared(self, user: User) -> None:
        self._nodes_of[user.id] += 1
        self._touched[user.id] = user

    def _vanished(self, user: User) -> None:
        self._nodes_of[user.id] -= 1
        if not self._nodes_of[user.id]:
            del self._nodes_of[user.id]
        self._touched[user.id] = user

    def _after_grace(self, now: float, most: int) -> list[Change]:
        over = [id for id, since in self._gone_since.items() if now - since >= self._grace_seconds][:most]
        for id in over:
            del self._gone_since[id]
        return [Change(self._shown.pop(id), present=False) for id in over]
