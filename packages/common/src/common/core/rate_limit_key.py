"""The names of counters."""

import hashlib
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address

import msgspec

MAX_PLAIN_BYTES = 160
IPV6_PREFIX = 64
"""A subscriber is given a whole network of this size, so one address of it says little about who is asking."""


class By(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """Whose uses are counted together: any combination of parts, None leaving one out. By() is everybody."""

    principal: str | None = None
    address: str | None = None
    tenant: str | None = None
    route: str | None = None


@lru_cache(maxsize=16_384)
def limit_key(rule: str, by: By) -> bytes:
    """The counter's name, at most MAX_PLAIN_BYTES long. Every part carries its length, so no two combinations share a
    name; a long one is replaced by its hash (BLAKE2b, 160 bits), which no plain name can look like."""
    principal, address, tenant, route = by.principal, by.address, by.tenant, by.route
    name = f"{len(rule)}:{rule}"
    if principal is not None:
        name += f"p{len(principal)}:{principal}"
    if address is not None:
        name += f"a{len(address)}:{address}"
    if tenant is not None:
        name += f"t{len(tenant)}:{tenant}"
    if route is not None:
        name += f"r{len(route)}:{route}"
    plain = name.encode("utf-8", "surrogatepass")
    if len(plain) <= MAX_PLAIN_BYTES:
        return plain
    return b"#" + hashlib.blake2b(plain, digest_size=20).hexdigest().encode()


@lru_cache(maxsize=4096)
def client_network(address: str) -> str:
    """What to count a client's address by: IPv4 as it is, IPv6 by its /64, IPv4 within IPv6 as IPv4.

    What is no address comes back unchanged: it is still somebody to be counted.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(IPv6Network((int(parsed), IPV6_PREFIX), strict=False))
    return str(parsed)
