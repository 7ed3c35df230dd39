"""What is held is never more than the limit, and all of it comes back."""

from hypothesis import given
from hypothesis import strategies as st

from common.core.shared_room import ENTRY_BYTES, SharedRoom

LIMIT = 4 * ENTRY_BYTES
entries = st.tuples(st.sampled_from("abcdef"), st.integers(0, ENTRY_BYTES), st.integers(1, 5))


@given(st.lists(entries, max_size=60))
def test_room_is_what_nothing_takes_up(told: list[tuple[str, int, int]]) -> None:
    room, held = SharedRoom(LIMIT), dict[str, tuple[int, int]]()
    for now, (key, size, seconds) in enumerate(told):
        held = {name: entry for name, entry in held.items() if entry[0] > now}
        others = sum(taken for name, (_, taken) in held.items() if name != key)
        taken = ENTRY_BYTES + len(key) + size
        assert room.has_room(key, size, now) == (others + taken <= LIMIT)
        if others + taken <= LIMIT:
            room.hold(key, size, now + seconds)
            held[key] = now + seconds, taken
    assert room.has_room("all of it", LIMIT - ENTRY_BYTES - 9, len(told) + 5)
    assert not room.has_room("all of it", LIMIT - ENTRY_BYTES - 8, len(told) + 5)
