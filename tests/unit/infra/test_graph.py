from hypothesis import given
from hypothesis import strategies as st

from infra.embedded.graph import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, Deaths, Part, Step, stop_waves


async def never() -> bool:
    return False


async def nothing() -> None:
    return None


def part(name: str, *needs: str) -> Part:
    return Part(name, ("true",), {}, never, needs)


def test_a_first_death_is_answered_within_five_seconds() -> None:
    assert Deaths().next_delay(lived_seconds=0.1) == FIRST_DELAY_SECONDS < 5


@given(st.lists(st.floats(min_value=0, max_value=1000), min_size=1, max_size=50))
def test_the_delay_never_shrinks_in_a_row_of_deaths_and_never_passes_its_bound(lives: list[float]) -> None:
    deaths = Deaths()
    previous = 0.0
    for lived in lives:
        delay = deaths.next_delay(lived)
        assert FIRST_DELAY_SECONDS <= delay <= LONGEST_DELAY_SECONDS
        assert delay >= previous or lived >= 30
        previous = delay


def test_a_part_that_held_for_a_while_starts_anew() -> None:
    deaths = Deaths()
    for _ in range(10):
        deaths.next_delay(0.1)
    assert deaths.next_delay(60) == FIRST_DELAY_SECONDS


def test_what_others_need_is_stopped_after_them_also_through_steps() -> None:
    parts = [part("postgres"), part("pocketbase"), part("nats", "trust"), part("chathub", "migrations", "nats")]
    steps = [Step("trust", nothing, ("pocketbase",)), Step("migrations", nothing, ("postgres",))]
    assert stop_waves(parts, steps) == [["chathub"], ["nats", "postgres"], ["pocketbase"]]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20))
def test_every_part_is_stopped_exactly_once_even_when_needs_run_in_a_circle(edges: list[tuple[int, int]]) -> None:
    needs: dict[str, list[str]] = {str(number): [] for number in range(7)}
    for source, target in edges:
        needs[str(source)].append(str(target))
    waves = stop_waves([part(name, *others) for name, others in needs.items()], [])
    assert sorted(name for wave in waves for name in wave) == sorted(needs)
