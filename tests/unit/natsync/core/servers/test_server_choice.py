from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsync.core.servers.server_choice import Attempt, RetryTerms, attempts, server_list, shown

TERMS = RetryTerms(max_primary_retries=2, initial_backoff_seconds=1, max_backoff_seconds=3, multiplier=2)


def test_the_primary_has_its_retries_then_each_backup_is_tried_once_a_round() -> None:
    first = list(islice(attempts(3, TERMS), 9))
    assert first == [
        Attempt(0, 0),
        Attempt(0, 1),
        Attempt(0, 2),
        Attempt(1, 0),
        Attempt(2, 0),
        Attempt(0, 3),
        Attempt(1, 0),
        Attempt(2, 0),
        Attempt(0, 3),
    ]


def test_without_backups_the_primary_is_tried_for_ever() -> None:
    assert [attempt.wait_seconds for attempt in islice(attempts(1, TERMS), 6)] == [0, 1, 2, 3, 3, 3]


@given(st.integers(1, 10_000))
def test_no_wait_exceeds_the_longest(retry: int) -> None:
    assert 0 < RetryTerms().wait_seconds(retry) <= RetryTerms().max_backoff_seconds


def test_servers_are_tried_in_the_order_in_which_they_are_named() -> None:
    assert server_list("nats://a:1, nats://b:2", "nats://c:3,nats://a:1,") == ("nats://a:1", "nats://b:2", "nats://c:3")


@pytest.mark.parametrize(
    ("address", "said"),
    [("nats://u:p@h:1", "nats://h:1"), ("h:1", "h:1"), ("u:p@h:1", "h:1"), ("tls://t@h", "tls://h")],
)
def test_what_is_logged_of_an_address_is_no_password(address: str, said: str) -> None:
    assert shown(address) == said
