"""Values in the shared tier: how they are written there, and what is made of those read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import msgspec
import structlog

from common.cache.ports import Fetched, Lease
from common.cache.shared_access import SharedAccess
from common.core.cache_frame import Frame, FrameCodec, Unreadable
from common.core.cached import Codec
from common.core.epochs import Tags
from common.core.freshness import Policy
from common.core.shared_room import SharedRoom

T = TypeVar("T")

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """An entry that stands. `fresh_seconds` is how long it is fresh yet, below 0 how long it no longer is."""

    value: T | None
    age_seconds: float
    fresh_seconds: float
    size_bytes: int

    @property
    def outcome(self) -> Literal["hit", "negative"]:
        return "negative" if self.value is None else "hit"


@dataclass(frozen=True, slots=True)
class Consulted(Generic[T]):
    """What the shared tier said: an entry, where the tags stand, and whether this process may load."""

    found: Found[T] | None
    stamp: bytes
    may_load: bool

    @property
    def is_for_us_to_load(self) -> bool:
        return self.may_load and (self.found is None or self.found.fresh_seconds <= 0)


class SharedValues(Generic[T]):
    def __init__(
        self,
        access: SharedAccess,
        codec: Codec[T],
        frames: FrameCodec,
        room: SharedRoom,
        clock: Callable[[], float],
    ) -> None:
        self._access = access
        self._codec = codec
        self._frames = frames
        self._room = room
        self._clock = clock
        self._complained = False

    async def consult(self, key: str, tags: Tags, lease: Lease | None) -> Consulted[T] | None:
        """None when the tier cannot be asked."""
        fetched = await self._access.fetch(key, tags, lease)
        return fetched and Consulted(self._read(fetched), fetched.stamp, fetched.may_load)

    async def keep(
        self,
        key: str,
        tags: Tags,
        stamp: bytes,
        value: T | None,
        *,
        fresh_seconds: float,
        policy: Policy,
        lease: Lease | None,
    ) -> bool:
        """Whether it was stored. Gives the lease back in any case."""
        data = None if value is None else self._codec.encode(value)
        fresh_ms, stale_ms = max(round(fresh_seconds * 1000), 1), round(policy.stale_seconds * 1000)
        life_ms, now = fresh_ms + stale_ms, self._clock()
        packed = self._frames.pack(Frame(data, fresh_ms, life_ms))
        if packed is None or not self._room.has_room(key, len(packed), now):
            await self.give_back(key, lease)
            return False
        self._room.hold(key, len(packed), now + life_ms / 1000)
        return await self._access.store(key, tags, packed, stamp, life_ms=life_ms, stale_ms=stale_ms, lease=lease)

    async def give_back(self, key: str, lease: Lease | None) -> None:
        if lease:
            await self._access.give_back(key, lease)

    def _read(self, fetched: Fetched) -> Found[T] | None:
        if fetched.packed is None:
            return None
        try:
            frame = self._frames.unpack(fetched.packed)
            value = None if frame.data is None else self._codec.decode(frame.data)
        except (Unreadable, msgspec.MsgspecError, ValueError) as error:
            self._complain(error)
            return None
        age_ms = max(frame.life_ms - fetched.left_ms, 0)
        return Found(value, age_ms / 1000, (frame.fresh_ms - age_ms) / 1000, len(fetched.packed))

    def _complain(self, error: Exception) -> None:
        """Once: a whole generation of entries may be foreign."""
        if not self._complained:
            logger.warning("an entry of the shared cache tier cannot be read", error=type(error).__name__)
        self._complained = True
