"""Whatever is told to whom, and whenever it is written: each client reads it in the order in which it was told."""

import asyncio
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from common.serving.direct_writes import Outlet
from common.serving.fanout import Fanout, Seat

CLIENTS = 5
LIMIT = 1000


@dataclass
class Wire:
    """A transport that keeps what is written; with `stuck` nobody reads it."""

    written: bytearray = field(default_factory=bytearray)
    writes: int = 0
    stuck: bool = False
    closed: bool = False

    def write(self, data: bytes) -> None:
        self.written += data
        self.writes += 1

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return len(self.written) if self.stuck else 0


Told = tuple[str, int]
TELLING = st.lists(
    st.tuples(
        st.sampled_from(["all", "all", "all", "all but", "one", "aside", "enter", "leave", "turn", "flush"]),
        st.integers(0, CLIENTS - 1),
    ),
    max_size=60,
)


def unexpected() -> None:
    raise AssertionError


async def tell(fanout: Fanout, told: list[Told], wires: list[Wire]) -> tuple[list[list[int]], list[list[int]]]:
    """What each client should have read, only while it was there: in its order, and aside, which are odd numbers."""
    expected: list[list[int]] = [[] for _ in range(CLIENTS)]
    aside: list[list[int]] = [[] for _ in range(CLIENTS)]
    seats: dict[int, Seat] = {}
    for number, (what, client) in enumerate(told):
        frame = bytes([2 * number + (what == "aside")])
        match what:
            case "all" | "all but":
                but = [client] if what == "all but" else []
                fanout.to_all(frame, but=[seats[one] for one in but if one in seats])
                for one in seats:
                    if one not in but:
                        expected[one] += frame
            case "one" | "aside" if client in seats:
                say, read = (fanout.to_one, expected) if what == "one" else (fanout.aside, aside)
                say(seats[client], frame)
                read[client] += frame
            case "enter" if client not in seats:
                seats[client] = fanout.seat(Outlet(wires[client]), allowed_bytes=LIMIT, slow=unexpected)
            case "leave" if client in seats:
                fanout.flush()
                fanout.leave(seats.pop(client))
            case "turn":
                await asyncio.sleep(0)
            case "flush":
                fanout.flush()
            case _:
                pass
    fanout.flush()
    return expected, aside


@given(TELLING, st.integers(1, 3))
def test_everybody_reads_what_was_told_while_they_were_there_in_its_order(told: list[Told], turn: int) -> None:
    async def run() -> None:
        wires = [Wire() for _ in range(CLIENTS)]
        expected, aside = await tell(Fanout(pause_seconds=0, turn=turn), told, wires)
        assert [[one for one in wire.written if one % 2 == 0] for wire in wires] == expected
        assert [[one for one in wire.written if one % 2] for wire in wires] == aside

    asyncio.run(run())


async def test_what_is_told_at_once_is_one_write() -> None:
    fanout, wires = Fanout(), [Wire(), Wire()]
    for wire in wires:
        fanout.seat(Outlet(wire), allowed_bytes=LIMIT, slow=unexpected)
    for number in range(20):
        fanout.to_all(bytes([number]))
    await asyncio.sleep(0.001)
    assert [(wire.writes, wire.written) for wire in wires] == [(1, bytes(range(20)))] * 2


async def test_what_is_told_aside_goes_with_what_everybody_waits_for() -> None:
    fanout, wire = Fanout(), Wire()
    seat = fanout.seat(Outlet(wire), allowed_bytes=LIMIT, slow=unexpected)
    fanout.aside(seat, b"1")
    assert wire.writes == 1
    fanout.to_all(b"3")
    fanout.aside(seat, b"2")
    await asyncio.sleep(0.001)
    assert (wire.writes, wire.written) == (2, b"123")


async def test_who_leaves_has_been_told_what_it_was_told_aside() -> None:
    fanout, wire = Fanout(), Wire()
    seat = fanout.seat(Outlet(wire), allowed_bytes=LIMIT, slow=unexpected)
    fanout.to_all(b"x")
    fanout.aside(seat, b"1")
    fanout.leave(seat)
    fanout.flush()
    assert wire.written == b"1"


async def test_a_round_lets_others_work_between_its_clients() -> None:
    fanout, wires = Fanout(turn=1), [Wire(), Wire(), Wire()]
    for wire in wires:
        fanout.seat(Outlet(wire), allowed_bytes=LIMIT, slow=unexpected)
    fanout.to_all(b"x")
    written: list[int] = []
    while sum(wire.writes for wire in wires) < 3:
        await asyncio.sleep(0)
        written.append(sum(wire.writes for wire in wires))
    assert [count for count in written if count] == [1, 2, 3]


async def test_who_does_not_read_is_named_once_and_gets_nothing_more() -> None:
    fanout, stuck, reading, slow = Fanout(), Wire(stuck=True), Wire(), list[str]()
    fanout.seat(Outlet(stuck), allowed_bytes=10, slow=lambda: slow.append("stuck"))
    fanout.seat(Outlet(reading), allowed_bytes=10, slow=unexpected)
    for _ in range(5):
        fanout.to_all(b"12345678")
        fanout.flush()
        await asyncio.sleep(0)
    assert slow == ["stuck"]
    assert len(stuck.written) == 16
    assert len(reading.written) == 40
    assert len(fanout) == 1


async def test_who_is_gone_is_left_out() -> None:
    fanout, wire = Fanout(), Wire(closed=True)
    seat = fanout.seat(Outlet(wire), allowed_bytes=LIMIT, slow=unexpected)
    fanout.to_one(seat, b"x")
    fanout.aside(seat, b"y")
    fanout.leave(seat)
    fanout.to_one(seat, b"z")
    assert not wire.written
