"""Both ways to run rules aside, together."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from gateway.isolate.loops import Loops
from gateway.isolate.threads import Threads


@dataclass(frozen=True, slots=True)
class Lanes:
    threads: Threads = field(default_factory=Threads)
    loops: Loops = field(default_factory=Loops)

    @property
    def lost(self) -> int:
        return self.threads.lost + self.loops.lost


@contextmanager
def open_lanes(lanes: Lanes | None = None) -> Generator[Lanes]:
    """Leaving does not wait for what hangs: the threads end with the process at the latest."""
    opened = lanes or Lanes()
    try:
        yield opened
    finally:
        opened.threads.close()
        opened.loops.close()
