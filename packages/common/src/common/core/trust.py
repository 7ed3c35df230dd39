"""Whether those who would tell us of changes are still being heard."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from common.core.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why nothing stored is believed: `source` was last heard `silent_seconds` ago, or never (infinity)."""

    source: str
    silent_seconds: float

    def __str__(self) -> str:
        if math.isinf(self.silent_seconds):
            return f"{self.source} has not been heard yet"
        return f"{self.source} has been silent for {self.silent_seconds:.1f} s"


@dataclass(slots=True)
class _Heard:
    epoch: str = ""
    at: float = -math.inf


class Trust:
    """Sources that must each be heard every `silence_seconds` at least. Times are seconds of one monotonic clock."""

    def __init__(self, sources: Iterable[str], silence_seconds: float) -> None:
        self._silence_seconds = silence_seconds
        self._heard = {source: _Heard() for source in sources}

    @property
    def until(self) -> float:
        """When trust ends unless a source is heard again; infinity without sources."""
        return min((heard.at + self._silence_seconds for heard in self._heard.values()), default=math.inf)

    def heard(self, source: str, epoch: str, now: float) -> str | None:
        """Note a heartbeat. A text says that what was stored must be dropped, and why.

        `epoch` names the source's unbroken run; another one, or a return after silence, means that changes may have
        been missed. Raises InvalidRequest for a source that nobody waits for.
        """
        last = self._heard.get(source)
        if last is None:
            raise InvalidRequest(f"source: {source!r} is none of those named when the cache was opened.")
        before = _Heard(last.epoch, last.at)
        last.epoch, last.at = epoch, max(now, last.at)
        if math.isinf(before.at):
            return f"{source} began to be heard"
        if epoch != before.epoch:
            return f"{source} began anew"
        if now >= before.at + self._silence_seconds:
            return f"{source} came back after {now - before.at:.1f} s of silence"
        return None

    def doubt(self, now: float) -> Doubt | None:
        """The source that has been silent longest, if any has been for too long."""
        if now < self.until:
            return None
        source, heard = min(self._heard.items(), key=lambda item: item[1].at)
        return Doubt(source, now - heard.at)
