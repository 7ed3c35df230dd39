"""The same bytes to many clients, each in the order in which they were told: what comes at once is joined into one
write, and the loop does other work between some hundred clients.

A write costs what a packet costs the kernel, however long it is (docs/explanation/performance.md): so what is told to
everybody waits for the end of the turn, and shortly after a write for `pause_seconds`. What is told to one client goes
at once, behind all that everybody was told before; what has no place in the order goes with what everybody waits for.
"""

import asyncio
from collections.abc import Callable, Iterable

from common.serving.direct_writes import Outlet, Sending

PAUSE_SECONDS = 0.01
TURN = 250
"""Clients that are written to before the loop may do other work: about a millisecond."""


GONE = 1 << 62
"""The round of who takes part in no more."""


class Seat:
    """One client's place in a fan-out. Compared by identity."""

    __slots__ = ("ahead", "allowed_bytes", "aside", "round", "slow", "transport")

    def __init__(self, transport: Sending, allowed_bytes: int, slow: Callable[[], None]) -> None:
        self.transport = transport
        self.allowed_bytes = allowed_bytes
        self.slow = slow
        self.round = 0
        """The last round whose batch it has."""
        self.ahead = 0
        """How much it has of what waits for the next one."""
        self.aside = b""
        """What goes with the next one."""


class Fanout:
    def __init__(self, *, pause_seconds: float = PAUSE_SECONDS, turn: int = TURN) -> None:
        self._pause_seconds = pause_seconds
        self._turn = turn
        self._seats: dict[Seat, None] = {}
        self._waiting: list[bytes] = []  # told to everybody, and not yet part of a round
        self._ahead: set[Seat] = set()  # have had some of that
        self._round = 0
        self._batch = b""
        self._due: list[Seat] = []  # their turn in this round is still to come
        self._planned = False
        self._free_at = 0.0

    def __len__(self) -> int:
        return len(self._seats)

    def seat(self, outlet: Outlet, *, allowed_bytes: int, slow: Callable[[], None]) -> Seat:
        """From now on it is told what everybody is told. `slow` is called, once and soon, when more than
        `allowed_bytes` waits for it: it then gets nothing more, and is to be closed."""
        seat = Seat(outlet.transport, allowed_bytes, slow)
        self._seats[seat] = None
        self._up_to_date(seat)
        return seat

    def leave(self, seat: Seat) -> None:
        """Nothing is written to it any more, also not what everybody was told and it does not have yet."""
        if seat in self._seats:
            del self._seats[seat]
            if seat.aside and not seat.transport.is_closing():
                seat.transport.write(seat.aside)
        self._ahead.discard(seat)
        seat.round = GONE

    def to_all(self, frame: bytes, *, but: Iterable[Seat] = ()) -> None:
        left_out = [seat for seat in but if seat in self._seats]
        for seat in left_out:
            self._write(seat, self._missing(seat))
        self._waiting.append(frame)
        for seat in left_out:
            self._up_to_date(seat)
        if not self._planned:
            self._plan()

    def to_one(self, seat: Seat, frame: bytes) -> None:
        if seat in self._seats:
            missing = self._missing(seat)
            self._up_to_date(seat)
            self._write(seat, missing + frame)

    def aside(self, seat: Seat, frame: bytes) -> None:
        """Soon, and without a place in the order."""
        if seat not in self._seats:
            return
        if self._waiting:
            seat.aside += frame
        else:
            self._write(seat, frame)

    def flush(self) -> None:
        """Write all that waits, in one turn."""
        while self._waiting or self._due:
            if not self._due:
                self._begin()
            self._write_some(len(self._due))

    def _missing(self, seat: Seat) -> bytes:
        batch = b"" if seat.round == self._round else self._batch
        return batch + b"".join(self._waiting[seat.ahead :])

    def _up_to_date(self, seat: Seat) -> None:
        seat.round, seat.ahead = self._round, len(self._waiting)
        if seat.ahead and seat in self._seats:
            self._ahead.add(seat)

    def _plan(self) -> None:
        self._planned = True
        asyncio.get_running_loop().call_at(self._free_at, self._run)

    def _run(self) -> None:
        """One turn; a round begins when the one before it is through."""
        if not self._due:
            self._begin()
        self._write_some(self._turn)
        loop = asyncio.get_running_loop()
        if self._due:
            loop.call_soon(self._run)
            return
        self._free_at = loop.time() + self._pause_seconds
        self._planned = False
        if self._waiting:
            self._plan()

    def _begin(self) -> None:
        waiting, self._waiting = self._waiting, []
        ahead, self._ahead = self._ahead, set()
        self._round += 1
        self._batch = b"".join(waiting)
        self._due = list(self._seats) if waiting else []
        for seat in ahead:
            rest = b"".join(waiting[seat.ahead :])
            seat.round, seat.ahead = self._round, 0
            self._write(seat, rest)

    def _write_some(self, seats: int) -> None:
        batch, round, here = self._batch, self._round, self._due[-seats:]
        del self._due[-seats:]
        for seat in here:
            if seat.round >= round:  # it has it, or is gone
                continue
            seat.round = round
            transport = seat.transport
            if seat.aside:
                self._write(seat, batch)
            elif seat.allowed_bytes >= transport.get_write_buffer_size() and not transport.is_closing():
                transport.write(batch)
            else:
                self._write(seat, batch)

    def _write(self, seat: Seat, data: bytes) -> None:
        transport = seat.transport
        if seat.aside:
            data, seat.aside = seat.aside + data, b""
        if not data or transport.is_closing():
            return
        if transport.get_write_buffer_size() > seat.allowed_bytes:
            self.leave(seat)
            asyncio.get_running_loop().call_soon(seat.slow)
        else:
            transport.write(data)
