from hypothesis import given
from hypothesis import strategies as st

from chathub.core.room_feed import Duplicate, Gap, Next, RoomFeed


def follow(feed: RoomFeed, heard: list[int], log: set[int]) -> list[int]:
    """What a node delivers that hears `heard`, and reads from `log` where it finds a gap."""
    delivered: list[int] = []
    for sequence in heard:
        verdict = feed.accept(sequence)
        if isinstance(verdict, Gap):
            for missing in range(verdict.first, verdict.last + 1):
                if missing in log:
                    feed.skip_to(missing - 1)
                    assert feed.accept(missing) == Next()
                    delivered.append(missing)
            feed.skip_to(verdict.last)
            verdict = feed.accept(sequence)
        if isinstance(verdict, Next):
            delivered.append(sequence)
    return delivered


def test_the_awaited_sequence_is_next() -> None:
    feed = RoomFeed(4)
    assert feed.accept(5) == Next()
    assert feed.accept(5) == Duplicate()
    assert feed.accept(3) == Duplicate()


def test_a_gap_names_exactly_what_is_missing_and_moves_nothing() -> None:
    feed = RoomFeed(4)
    assert feed.accept(8) == Gap(5, 7)
    assert feed.position == 4
    feed.skip_to(7)
    assert feed.accept(8) == Next()


@given(st.lists(st.integers(1, 30)), st.integers(1, 30))
def test_any_mixture_of_repeats_and_losses_yields_each_message_once_in_order(heard: list[int], last: int) -> None:
    heard = [sequence for sequence in heard if sequence <= last] + [last]
    assert follow(RoomFeed(0), heard, set(range(1, last + 1))) == list(range(1, last + 1))


@given(st.sets(st.integers(1, 30), min_size=1), st.lists(st.integers(1, 30)))
def test_messages_that_are_gone_from_the_log_are_passed_over(log: set[int], order: list[int]) -> None:
    heard = [sequence for sequence in order if sequence in log] + [max(log)]
    assert follow(RoomFeed(0), heard, log) == sorted(log)
