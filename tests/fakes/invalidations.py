"""common.cache.Invalidations in memory: a server that keeps the order of each sender's messages and no more, and lines
that can be cut."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from common.cache.ports import Hear
from common.core.errors import UpstreamUnavailable


def at_once() -> float:
    return 0.0


@dataclass(slots=True)
class BusServer:
    """`delay` says how long the next leg of a message takes; each sender's order is kept all the same."""

    delay: Callable[[], float] = at_once
    lines: "list[InMemoryInvalidations]" = field(default_factory=lambda: list[InMemoryInvalidations]())

    def accept(self, sender: "InMemoryInvalidations", data: bytes) -> None:
        for line in self.lines:
            line.deliver(sender, data)


class InMemoryInvalidations:
    """One process's line. While it is cut nothing comes in and publishing raises; while it is `leaky` what is published
    vanishes, as it may in a client that has not noticed that its connection is gone."""

    def __init__(self, server: BusServer) -> None:
        self._server = server
        self._hear: Hear | None = None
        self._free_to_send_at = 0.0
        self._free_to_hear_at: dict[InMemoryInvalidations, float] = {}
        self._is_cut = False
        self.is_leaky = False
        server.lines.append(self)

    @property
    def is_cut(self) -> bool:
        return self._is_cut

    @is_cut.setter
    def is_cut(self, cut: bool) -> None:
        was, self._is_cut = self._is_cut, cut
        if was and not cut and self._hear:
            self._hear(None)

    async def publish(self, data: bytes) -> None:
        if self.is_cut and not self.is_leaky:
            raise UpstreamUnavailable("The line is cut.")
        self._free_to_send_at = self._later(self._free_to_send_at, self._accept, data)
        await asyncio.sleep(0)

    async def listen(self, hear: Hear) -> None:
        self._hear = hear
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._hear = None

    def deliver(self, sender: "InMemoryInvalidations", data: bytes) -> None:
        if not self.is_cut:
            free_at = self._free_to_hear_at.get(sender, 0.0)
            self._free_to_hear_at[sender] = self._later(free_at, self._take, data)

    def _accept(self, data: bytes) -> None:
        if not self.is_cut:
            self._server.accept(self, data)

    def _take(self, data: bytes) -> None:
        if self._hear and not self.is_cut:
            self._hear(data)

    def _later(self, not_before: float, act: Callable[[bytes], None], data: bytes) -> float:
        loop = asyncio.get_running_loop()
        when = max(loop.time() + self._server.delay(), not_before + 1e-6)
        loop.call_at(when, act, data)
        return when
