from hypothesis import given
from hypothesis import strategies as st

from gateway.core.bodies.body_pace import Pace


def test_what_has_come_in_buys_time() -> None:
    pace = Pace(grace_seconds=10, min_bytes_per_second=100, total_seconds=60)
    assert [pace.deadline(1000, received) for received in (0, 500, 5000, 10_000)] == [1010, 1015, 1060, 1060]


@given(st.integers(1, 100_000))
def test_a_byte_a_second_buys_next_to_nothing(seconds: int) -> None:
    pace = Pace(grace_seconds=10, min_bytes_per_second=1024, total_seconds=3600)
    assert pace.deadline(0, seconds) < 10 + seconds / 1000
