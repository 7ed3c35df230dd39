"""Where a request comes from: what the trusted proxy says, or else the peer itself."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

FORWARDED_FOR = b"x-forwarded-for"


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    networks: tuple[IPv4Network | IPv6Network, ...]

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "TrustedProxies":
        """Raises ValueError for what is neither an address nor a network."""
        return cls(tuple(ip_network(text) for text in texts))

    def client_address(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The rightmost address of the last X-Forwarded-For if the peer may say so, else the peer's."""
        if not self.include(peer):
            return peer
        values = [value for name, value in headers if name == FORWARDED_FOR]
        claimed = values[-1].rpartition(b",")[2].decode("latin-1").strip() if values else ""
        return str(address) if (address := parsed(claimed)) else peer

    def include(self, peer: str) -> bool:
        address = parsed(peer)
        return address is not None and any(address in network for network in self.networks)


def parsed(text: str) -> IPv4Address | IPv6Address | None:
    """An IPv4 address that is wrapped in IPv6 counts as itself. One with a zone is none: that may be any text."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return None
    return getattr(address, "ipv4_mapped", None) or address
