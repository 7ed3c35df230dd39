"""The channels there are, as this node last read them."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Channel:
    id: int
    name: str
    description: str | None
    sort_order: int


@dataclass(slots=True)
class ChannelBook:
    listed: tuple[Channel, ...] = ()
    _by_name: dict[str, Channel] = field(default_factory=dict[str, Channel])
    _by_id: dict[int, Channel] = field(default_factory=dict[int, Channel])

    def replace(self, channels: Sequence[Channel]) -> bool:
        """Take a new reading; true if it differs from the last."""
        if self.listed == tuple(channels):
            return False
        self.listed = tuple(channels)
        self._by_name = {channel.name: channel for channel in channels}
        self._by_id = {channel.id: channel for channel in channels}
        return True

    def named(self, name: str) -> Channel | None:
        return self._by_name.get(name)

    def with_id(self, id: int) -> Channel | None:
        return self._by_id.get(id)
