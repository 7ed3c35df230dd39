import pytest

from natsync.core.collections.leadership import NO_TERM, Beat, Candidate, Term, latest, to_term

SILENCE_SECONDS = 3.0
THEIRS = Term("a", 7, "them")


def candidate() -> Candidate:
    return Candidate(SILENCE_SECONDS, 100.0)


def beat(epoch: int = 7) -> Beat:
    return Beat(holder="them", epoch=epoch)


def test_the_first_begins_at_once() -> None:
    assert candidate().may_take(NO_TERM, 100, is_connected=True)
    assert latest([]) == NO_TERM


def test_a_term_that_was_given_back_is_followed_at_once() -> None:
    assert candidate().may_take(Term("a", 7, ""), 100, is_connected=True)


def test_whoever_is_heard_goes_on() -> None:
    us = candidate()
    for second in range(100, 200):
        us.heard(beat(), second)
        assert not us.may_take(THEIRS, second + 0.5, is_connected=True)


def test_whoever_is_silent_for_its_time_is_followed() -> None:
    us = candidate()
    assert not us.may_take(THEIRS, 100, is_connected=True)
    us.heard(beat(), 101)
    assert not us.may_take(THEIRS, 103.9, is_connected=True)
    assert us.may_take(THEIRS, 104, is_connected=True)


def test_beats_of_a_term_that_is_over_do_not_count() -> None:
    us = candidate()
    assert not us.may_take(THEIRS, 100, is_connected=True)
    us.heard(beat(6), 102)
    assert us.may_take(THEIRS, 103, is_connected=True)


def test_each_term_is_given_its_time() -> None:
    us = candidate()
    assert not us.may_take(THEIRS, 100, is_connected=True)
    assert not us.may_take(Term("b", 8, "others"), 103, is_connected=True)
    assert not us.may_take(Term("b", 8, "others"), 105.9, is_connected=True)
    assert us.may_take(Term("b", 8, "others"), 106, is_connected=True)


def test_who_could_not_hear_begins_to_wait_when_it_can() -> None:
    us = candidate()
    assert not us.may_take(THEIRS, 100, is_connected=True)
    assert not us.may_take(THEIRS, 104, is_connected=False)
    assert not us.may_take(THEIRS, 105, is_connected=True)
    assert us.may_take(THEIRS, 108, is_connected=True)


def test_without_nats_a_term_is_left_alone_but_for_once_after_a_start() -> None:
    us = candidate()
    assert not us.may_take(THEIRS, 100, is_connected=False)
    assert us.may_take(THEIRS, 103, is_connected=False)
    us.taken()
    for second in range(104, 200):
        assert not us.may_take(Term("b", 9, "them"), second, is_connected=False)


def test_who_was_connected_waits_for_nats() -> None:
    us = candidate()
    assert not us.may_take(THEIRS, 100, is_connected=True)
    for second in range(101, 200):
        assert not us.may_take(THEIRS, second, is_connected=False)


@pytest.mark.parametrize("order", [1, -1])
def test_the_latest_term_counts(order: int) -> None:
    rows = [{"id": "a", "epoch": 3, "holder": "x"}, {"id": "b", "epoch": 4, "holder": ""}][::order]
    assert latest(map(to_term, rows)) == Term("b", 4, "")
