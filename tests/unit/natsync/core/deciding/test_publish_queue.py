from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from natsync.core.deciding.publish_queue import (
    QueueTerms,
    Ticket,
    Work,
    after_failure,
    is_due,
    outdated,
    to_row,
    to_ticket,
)

TERMS = QueueTerms(max_attempts=3, initial_backoff_seconds=1, multiplier=2, interval_seconds=5, retention_seconds=100)
WORK = Work("a1", "publish", "content")


def failed(times: int, ticket: Ticket | None = None, work: Work = WORK) -> Ticket:
    for attempt in range(times):
        ticket = after_failure(ticket, work, "refused", now=100 + attempt, terms=TERMS)
    assert ticket
    return ticket


def test_tries_come_ever_less_often_up_to_the_interval() -> None:
    waits = [failed(times).next_try_at - (99 + times) for times in range(1, 6)]
    assert waits == [1, 2, 4, 5, 5]


def test_nothing_is_held_back_before_it_has_failed_nor_after_it_is_due() -> None:
    ticket = failed(1)
    assert is_due(None, WORK, 0)
    assert not is_due(ticket, WORK, 100.9)
    assert is_due(ticket, WORK, 101)


def test_what_is_new_does_not_wait_for_what_failed_before_and_counts_anew() -> None:
    ticket = failed(3)
    revocation = Work("a1", "publish", "with a revocation")
    for newer in (revocation, Work("a1", "remove")):
        assert is_due(ticket, newer, 0)
        again = after_failure(ticket, newer, "refused", now=200, terms=TERMS)
        assert (again.attempts, again.failed_at, again.id) == (1, 0, ticket.id)


def test_after_so_many_tries_it_has_failed_since_then_and_is_tried_all_the_same() -> None:
    assert failed(2).failed_at == 0
    assert (failed(3).failed_at, failed(5).failed_at) == (102, 102)
    assert is_due(failed(5), WORK, 1000)


def test_failed_tickets_are_kept_for_a_while() -> None:
    tickets = [failed(2), failed(3)]
    assert outdated(tickets, now=201, terms=TERMS) == []
    assert outdated(tickets, now=202, terms=TERMS) == [tickets[1]]


@given(st.integers(1, 10_000))
def test_no_wait_exceeds_the_interval(attempts: int) -> None:
    assert 0 < TERMS.wait_seconds(attempts) <= TERMS.interval_seconds


def test_a_ticket_survives_its_row() -> None:
    ticket = failed(4)
    assert to_ticket({**to_row(ticket), "id": "r1"}) == replace(ticket, id="r1")
    assert to_ticket({"id": "r1"}) == Ticket("", "", "", id="r1")
