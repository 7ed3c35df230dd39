"""How long a body may take to come in, so that a client who sends a byte now and then holds nothing for long."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """A body must come in at `min_bytes_per_second` on the whole, once `grace_seconds` are over."""

    grace_seconds: float = 10
    min_bytes_per_second: float = 4096
    total_seconds: float = 3600

    def deadline(self, begun: float, received_bytes: int) -> float:
        """Until when the next bytes are waited for."""
        return begun + min(self.total_seconds, self.grace_seconds + received_bytes / self.min_bytes_per_second)
