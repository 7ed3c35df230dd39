from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from common.core.epochs import EVERYTHING, EpochTable, Stamp, Tags

tags = st.lists(st.sampled_from("abcdef"), unique=True, max_size=4).map(tuple)


class Bumps(RuleBasedStateMachine):
    """A stamp never holds after one of its tags was bumped; and it holds until then, where the table has room."""

    def __init__(self) -> None:
        super().__init__()
        self.roomy, self.cramped = EpochTable(100), EpochTable(2)
        self.stamped: list[tuple[Tags, Stamp, Stamp, int]] = []
        self.bumped: list[str] = []

    @rule(tags=tags)
    def stamp(self, tags: Tags) -> None:
        self.stamped.append((tags, self.roomy.stamp(tags), self.cramped.stamp(tags), len(self.bumped)))

    @rule(tags=tags.filter(bool))
    def bump(self, tags: Tags) -> None:
        self.roomy.bump(tags)
        self.cramped.bump(tags)
        self.bumped += tags

    @rule()
    def bump_everything(self) -> None:
        self.bump((EVERYTHING,))

    @invariant()
    def only_what_was_not_bumped_holds(self) -> None:
        for tags, roomy, cramped, since in self.stamped:
            stands = not {*tags, EVERYTHING}.intersection(self.bumped[since:])
            assert self.roomy.holds(tags, roomy) is stands
            assert stands or not self.cramped.holds(tags, cramped)

    @invariant()
    def the_table_stays_within_its_bounds(self) -> None:
        assert len(self.cramped) <= 2


class Generations(RuleBasedStateMachine):
    """While the generation stands still, what held goes on holding."""

    def __init__(self) -> None:
        super().__init__()
        self.table = EpochTable(2)
        self.held: list[tuple[Tags, Stamp, int]] = []

    @rule(tags=tags)
    def stamp(self, tags: Tags) -> None:
        stamp = self.table.stamp(tags)
        if self.table.holds(tags, stamp):
            self.held.append((tags, stamp, self.table.generation))

    @rule(tags=tags.filter(bool))
    def bump(self, tags: Tags) -> None:
        self.table.bump(tags)

    @invariant()
    def nothing_ends_unseen(self) -> None:
        for tags, stamp, generation in self.held:
            assert generation != self.table.generation or self.table.holds(tags, stamp)


TestBumps = Bumps.TestCase
TestGenerations = Generations.TestCase
TestBumps.settings = TestGenerations.settings = settings(max_examples=30)


def test_what_ended_is_named() -> None:
    table = EpochTable(10)
    stamp = table.stamp(("a", "b"))
    table.bump(("b",))
    assert table.ended(("a", "b"), stamp) == "b"
    table.bump((EVERYTHING,))
    assert table.ended(("a", "b"), stamp) == EVERYTHING
