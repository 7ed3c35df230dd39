"""Where a request comes from: what the trusted proxy says, or else the peer itself."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

FORWARDED_FOR = b"x-forwarded-for"

MAX_REMEMBERED = 4096
MAX_REMEMBERED_BYTES = 64  # no address is longer


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """Remembers what it was asked: reading an address takes longer than most of what else a request needs."""

    networks: tuple[IPv4Network | IPv6Network, ...]
    _known: dict[tuple[str, bytes], str] = field(
        default_factory=dict[tuple[str, bytes], str], init=False, compare=False, repr=False
    )

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "TrustedProxies":
        """Raises ValueError for what is neither an address nor a network."""
        return cls(tuple(ip_network(text) for text in texts))

    def client_address(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The rightmost address of the last X-Forwarded-For if the peer may say so, else the peer's."""
        forwarded = [value for name, value in headers if name == FORWARDED_FOR]
        return self.behind(peer, forwarded[-1] if forwarded else b"")

    def behind(self, peer: str, forwarded: bytes) -> str:
        """The same; `forwarded` is the last X-Forwarded-For, or empty."""
        claimed = forwarded.rpartition(b",")[2]
        known = self._known.get((peer, claimed))
        if known is not None:
            return known
        address = parsed(claimed.decode("latin-1").strip()) if self.include(peer) else None
        found = str(address) if address else peer
        if len(claimed) <= MAX_REMEMBERED_BYTES:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[peer, claimed] = found
        return found

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
