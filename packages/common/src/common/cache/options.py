"""How large a cache is, and how long it waits."""

from dataclasses import dataclass, fields

from common.core.errors import InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOptions:
    """Raises InvalidRequest, naming the field, for a number that is not above 0."""

    memory_bytes: int = 64 * 1024 * 1024
    """All that entries take in this process; a single one takes an eighth at most."""

    known_tags: int = 65_536
    """Tags whose epochs this process remembers. What bears a forgotten one is dead."""

    shared_value_bytes: int = 1024 * 1024
    """Larger values stay out of the shared tier."""

    shared_bytes: int = 32 * 1024 * 1024
    """All that this process's entries take in the shared tier at one time; what finds no room stays in memory. Others
    may need that tier for what must not be thrown out."""

    compress_above_bytes: int = 1024
    """Larger values are compressed in the shared tier."""

    refreshes: int = 32
    """Values that may be loaded anew behind readers' backs at one time."""

    silence_seconds: float = 3.0
    """How long the bus, or a source of changes, may be silent before nothing stored is believed."""

    beat_seconds: float = 1.0
    """How often this process says that it is alive."""

    confirm_seconds: float = 0.5
    """How long a bump waits for a process that does not confirm it; see `Cache.bump`."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise InvalidRequest(f"CacheOptions.{field.name} must be above 0.")
        if self.beat_seconds * 2 > self.silence_seconds:
            raise InvalidRequest("CacheOptions.beat_seconds must not be above half of silence_seconds.")
