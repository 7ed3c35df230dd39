from hypothesis import given
from hypothesis import strategies as st

from chathub.core.bus_messages import Position
from chathub.core.extent import NOTHING, Extent, end_of, is_set_back, joined, reaching
from chathub.core.resume import LogBounds

places = st.builds(Position, st.integers(1, 4), st.integers(0, 50))
AFTER = Extent(Position(7, 100), 100)


def test_a_log_that_ends_where_it_had_come_or_later_is_as_it_was() -> None:
    assert not is_set_back(LogBounds(epoch=7, first=1, last=100), AFTER)
    assert not is_set_back(LogBounds(epoch=7, first=90, last=101), AFTER)


def test_a_log_that_ends_before_is_set_back_and_so_is_an_earlier_one() -> None:
    assert is_set_back(LogBounds(epoch=7, first=1, last=99), AFTER)
    assert is_set_back(LogBounds(epoch=6, first=1, last=500), AFTER)


def test_a_log_made_anew_is_not_set_back_however_short_it_is() -> None:
    assert not is_set_back(LogBounds(epoch=8, first=101, last=100), AFTER)


@given(st.lists(places), st.lists(places))
def test_nothing_that_was_known_is_forgotten(ones: list[Position], others: list[Position]) -> None:
    def extent(known: list[Position]) -> Extent:
        found = NOTHING
        for place in known:
            found = reaching(found, place)
        return found

    assert joined(extent(ones), extent(others)) == extent([*ones, *others])
    for place in ones:
        assert extent(ones).highest >= place.sequence
        assert not place > extent(ones).last


@given(places)
def test_a_log_is_never_set_back_before_its_own_end(place: Position) -> None:
    log = LogBounds(place.epoch, 1, place.sequence)
    assert not is_set_back(log, reaching(NOTHING, end_of(log)))
