"""Only a trusted proxy says where a request comes from."""

import pytest

from common.core.client_address import MAX_REMEMBERED, TrustedProxies

PROXIES = TrustedProxies.parse(["127.0.0.1", "::1", "10.0.0.0/8"])


def claimed(*values: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"x-forwarded-for", value) for value in values]


@pytest.mark.parametrize(
    ("peer", "values", "address"),
    [
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", [b"203.0.113.9"], "203.0.113.9"),
        ("::ffff:127.0.0.1", [b"203.0.113.9"], "203.0.113.9"),
        ("10.1.2.3", [b"1.1.1.1, 203.0.113.9"], "203.0.113.9"),
        ("::1", [b"1.1.1.1", b"2001:db8::1"], "2001:db8::1"),
        ("203.0.113.1", [b"198.51.100.1"], "203.0.113.1"),
        ("127.0.0.1", [b"nonsense"], "127.0.0.1"),
        ("127.0.0.1", [b"203.0.113.9,"], "127.0.0.1"),
        ("127.0.0.1", [b"::ffff:203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", [b"fe80::1%whatever one likes"], "127.0.0.1"),
    ],
)
def test_the_rightmost_address_of_the_last_header_counts(peer: str, values: list[bytes], address: str) -> None:
    assert PROXIES.client_address(peer, claimed(*values)) == address


def test_a_proxy_that_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match="caddy"):
        TrustedProxies.parse(["caddy"])


def test_what_is_remembered_is_bounded_in_number_and_in_size() -> None:
    proxies = TrustedProxies.parse(["127.0.0.1"])
    for number in range(2 * MAX_REMEMBERED):
        proxies.behind("127.0.0.1", f"10.0.{number // 256}.{number % 256}".encode())
    proxies.behind("127.0.0.1", b"x" * 65)
    assert len(proxies._known) <= MAX_REMEMBERED
    assert all(len(claimed) <= 64 for _, claimed in proxies._known)
