"""No two callers share a counter, however they are named."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.core.rate_limit_key import MAX_PLAIN_BYTES, By, client_network, limit_key

any_text = st.text(st.characters(), max_size=300)  # lone surrogates too: JSON brings them
tricky = st.text(st.sampled_from("0123456789:partr#"), max_size=6)
part = st.none() | tricky | any_text
subjects = st.tuples(st.sampled_from(["r", "r1", "1:r", "login"]), st.builds(By, part, part, part, part))


@settings(deadline=None)
@given(subjects, subjects)
def test_two_combinations_share_a_name_only_if_they_are_the_same(one: tuple[str, By], other: tuple[str, By]) -> None:
    assert (limit_key(*one) == limit_key(*other)) == (one == other)


@settings(deadline=None)
@given(subjects)
def test_names_are_short(subject: tuple[str, By]) -> None:
    assert len(limit_key(*subject)) <= MAX_PLAIN_BYTES


def test_an_empty_part_is_not_a_missing_one() -> None:
    assert limit_key("r", By(principal="")) != limit_key("r", By())
    assert limit_key("r", By(principal="a")) != limit_key("r", By(tenant="a"))


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::9", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_an_ipv6_subscriber_counts_as_one(address: str, network: str) -> None:
    assert client_network(address) == network
