"""Nodes that tell each other who is there, over a bus that loses, repeats and delays."""

from collections import Counter

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from chathub.core.presence import CHUNK, Change, Report, Roster, User

DEAD, GRACE = 9.0, 5.0
PEOPLE = [User(f"u{number}", f"U{number}") for number in range(4)]


def roster(node: str) -> Roster:
    return Roster(node, dead_seconds=DEAD, grace_seconds=GRACE)


def tell(sender: Roster, receiver: Roster, now: float) -> None:
    for report in [*sender.changes(), sender.alive()]:
        if not receiver.heard(report, now):
            for whole in sender.whole():
                assert receiver.heard(whole, now)


@pytest.fixture
def here() -> Roster:
    return roster("here")


@pytest.fixture
def there() -> Roster:
    return roster("there")


def test_who_is_on_another_node_is_shown_here(here: Roster, there: Roster) -> None:
    there.join(PEOPLE[0])
    tell(there, here, 0)
    assert here.tick(0) == [Change(PEOPLE[0], present=True)]
    assert here.users() == [PEOPLE[0]]


def test_when_many_come_at_once_they_are_told_bit_by_bit_and_who_left_meanwhile_never(here: Roster) -> None:
    for user in PEOPLE:
        here.join(user)
    assert here.tick(0, most=2) == [Change(user, present=True) for user in PEOPLE[:2]]
    here.leave(PEOPLE[2])
    assert here.tick(0, most=2) == [Change(PEOPLE[3], present=True)]
    for user in (*PEOPLE[:2], PEOPLE[3]):
        here.leave(user)
    assert here.tick(1, most=5) == []
    assert [len(here.tick(GRACE + 1, most=2)) for _ in range(3)] == [2, 1, 0]


def test_who_moves_from_node_to_node_was_never_gone(here: Roster, there: Roster) -> None:
    there.join(PEOPLE[0])
    tell(there, here, 0)
    here.tick(0)
    there.leave(PEOPLE[0])
    tell(there, here, 1)
    assert here.tick(1) == []
    here.join(PEOPLE[0])
    assert here.tick(2) == []
    assert here.tick(100) == []


def test_who_stays_away_is_gone_after_the_grace(here: Roster) -> None:
    here.join(PEOPLE[0])
    here.tick(0)
    here.leave(PEOPLE[0])
    assert here.tick(1) == []
    assert here.tick(1 + GRACE) == [Change(PEOPLE[0], present=False)]
    assert here.users() == []


def test_the_users_of_a_dead_node_go_with_it(here: Roster, there: Roster) -> None:
    there.join(PEOPLE[0])
    tell(there, here, 0)
    here.tick(0)
    assert here.tick(DEAD) == []
    assert here.nodes() == 2
    here.tick(DEAD + 1)
    assert here.nodes() == 1
    assert here.tick(DEAD + 1 + GRACE) == [Change(PEOPLE[0], present=False)]


def test_while_we_hear_nothing_nobody_is_declared_dead(here: Roster, there: Roster) -> None:
    there.join(PEOPLE[0])
    tell(there, here, 0)
    here.tick(0)
    assert here.tick(1000, deaf=True) == []
    assert here.tick(1000 + DEAD) == []
    assert here.users() == [PEOPLE[0]]


def test_a_node_that_leaves_takes_its_users_at_once(here: Roster, there: Roster) -> None:
    there.join(PEOPLE[0])
    tell(there, here, 0)
    here.heard(there.leaving(), 1)
    assert here.nodes() == 1


def test_a_user_on_two_nodes_goes_with_the_last(here: Roster, there: Roster) -> None:
    for each in (here, there):
        each.join(PEOPLE[0])
    tell(there, here, 0)
    here.tick(0)
    here.leave(PEOPLE[0])
    assert here.tick(100) == []


def test_a_missed_report_is_noticed_by_its_number(here: Roster, there: Roster) -> None:
    tell(there, here, 0)
    there.join(PEOPLE[0])
    there.changes()  # nobody hears it
    assert not here.heard(there.alive(), 1)
    there.join(PEOPLE[1])
    assert not here.heard(there.changes()[0], 1)


def test_very_many_users_are_told_in_pieces(here: Roster, there: Roster) -> None:
    for number in range(2 * CHUNK + 1):
        there.join(User(str(number), str(number)))
    reports = there.whole()
    assert [report.whole for report in reports] == [True, False, False]
    assert all(len(msgspec.json.encode(report)) < 1_000_000 for report in reports)
    for report in reports:
        assert here.heard(report, 0)
    assert len(here.tick(0)) == 2 * CHUNK + 1


class Nodes(RuleBasedStateMachine):
    """Whatever the bus does, once it works all nodes show the same: everybody who is connected somewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.made = 0
        self.rosters: dict[str, Roster] = {}
        self.sockets: dict[str, list[User]] = {}
        self.bus: list[tuple[str, Report]] = []
        self.shown: dict[str, Counter[str]] = {}
        for _ in range(3):
            self._start()

    @rule(node=st.integers(0, 2), user=st.sampled_from(PEOPLE))
    def join(self, node: int, user: User) -> None:
        name = list(self.rosters)[node]
        self.rosters[name].join(user)
        self.sockets[name].append(user)

    @rule(node=st.integers(0, 2), index=st.integers(0, 9))
    def leave(self, node: int, index: int) -> None:
        name = list(self.rosters)[node]
        if mine := self.sockets[name]:
            self.rosters[name].leave(mine.pop(index % len(mine)))

    @rule(node=st.integers(0, 2))
    def die(self, node: int) -> None:
        name = list(self.rosters)[node]
        del self.rosters[name], self.sockets[name], self.shown[name]
        self._start()

    @rule(node=st.integers(0, 2), lost=st.booleans())
    def report(self, node: int, lost: bool) -> None:
        name = list(self.rosters)[node]
        reports = [*self.rosters[name].changes(), self.rosters[name].alive()]
        if not lost:
            self.bus += [(to, report) for to in self.rosters for report in reports]

    @rule(index=st.integers(0, 30), again=st.booleans())
    def arrive(self, index: int, again: bool) -> None:
        if self.bus:
            place = index % len(self.bus)
            to, report = self.bus[place] if again else self.bus.pop(place)
            if to in self.rosters:
                self.rosters[to].heard(report, self.now)

    @rule(seconds=st.floats(0.1, 4))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self._tick()

    @rule()
    def settle(self) -> None:
        """Every node is heard by every other, often enough for the dead to be noticed."""
        self.bus.clear()
        for _ in range(10):
            self.now += 2
            for name, sender in self.rosters.items():
                for receiver in [other for other_name, other in self.rosters.items() if other_name != name]:
                    tell(sender, receiver, self.now)
            self._tick()
        present = {user.id for users in self.sockets.values() for user in users}
        for name, one in self.rosters.items():
            assert {user.id for user in one.users()} == present
            assert {id for id, count in self.shown[name].items() if count} == present

    def _start(self) -> None:
        self.made += 1
        name = f"n{self.made}"
        self.rosters[name], self.sockets[name], self.shown[name] = roster(name), [], Counter()

    def _tick(self) -> None:
        for name, one in self.rosters.items():
            for user, present in one.tick(self.now):
                self.shown[name][user.id] += 1 if present else -1
                assert self.shown[name][user.id] in (0, 1), "there and gone take turns"


TestNodes = Nodes.TestCase
TestNodes.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
