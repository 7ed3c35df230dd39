"""What a cache needs of the outside, by role. Adapters: valkey_cache.py, nats_invalidations.py."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from common.core.epochs import Tags


class Lease(NamedTuple):
    """The wish to be the one process that loads a key, for at most so long."""

    token: str
    milliseconds: int


class Fetched(NamedTuple):
    """`stamp` is what the tags stand at, to be handed to `store`. `packed` is the entry, if there is one that bears
    this stamp, and `left_ms` how much of its life is left. `may_load` is False while another process holds the lease
    that was asked for."""

    stamp: bytes
    packed: bytes | None
    left_ms: int
    may_load: bool


class SharedTier(Protocol):
    """Entries and epochs that several processes share. Every method raises UpstreamUnavailable, within a bounded time,
    when it is away.

    An epoch that is lost, by whatever cause, comes back as another one: what bore it is dead.
    """

    async def fetch(self, key: str, tags: Tags, lease: Lease | None) -> Fetched:
        """The entry and where its tags stand, in one step. The lease is taken only if there is nothing fresh."""
        ...

    async def store(
        self, key: str, tags: Tags, packed: bytes, stamp: bytes, *, life_ms: int, stale_ms: int, lease: Lease | None
    ) -> bool:
        """Store unless a tag was bumped since `stamp`, and give the lease back, in one step. Whether it was stored.

        `life_ms` is how long it is kept, the last `stale_ms` of them beyond its freshness.
        """
        ...

    async def give_back(self, key: str, lease: Lease) -> None:
        """Let another process load."""
        ...

    async def bump(self, tags: Tags) -> None:
        """End the epochs of the tags. Doing it twice does no harm; without tags it only asks for a sign of life."""
        ...

    async def tags_of(self, key: str) -> Tags | None:
        """The tags of whatever entry there is, dead or alive."""
        ...


class Invalidations(Protocol):
    """A broadcast that its sender hears, too."""

    async def publish(self, data: bytes) -> None:
        """Hand over to the bus, after what was published before. Raises UpstreamUnavailable when it is known to be
        away; whether it arrived is learnt by hearing it."""
        ...

    async def listen(self, hear: Callable[[bytes], None]) -> None:
        """Call `hear` for every message, in order, until cancelled; waits for a bus that is away."""
        ...
