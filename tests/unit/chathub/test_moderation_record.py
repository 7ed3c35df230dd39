from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from chathub.core.moderation import UNSEALED, Deed, Entry, first_broken, sealed

WHEN = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


def log(count: int) -> list[Entry]:
    entries: list[Entry] = []
    for id in range(1, count + 1):
        previous = entries[-1].seal if entries else UNSEALED
        entries.append(
            sealed(previous, id, WHEN, Deed("boss", "user.banned", f"u{id}", {"reason": "é", "hours": None}))
        )
    return entries


@given(st.integers(0, 12))
def test_a_log_as_it_was_written_is_whole(count: int) -> None:
    assert first_broken(log(count)) is None


@given(st.integers(1, 12), st.data())
def test_what_is_changed_taken_out_or_put_in_is_found_where_it_happened(count: int, data: st.DataObject) -> None:
    entries = log(count)
    place = data.draw(st.integers(0, count - 1))
    victim = entries[place]
    changed = [
        replace(victim, deed=replace(victim.deed, actor_id="ann")),
        replace(victim, deed=replace(victim.deed, details={"reason": "é", "hours": 1})),
        replace(victim, at=victim.at + timedelta(microseconds=1)),
    ]
    for forged in changed:
        assert first_broken([*entries[:place], forged, *entries[place + 1 :]]) == victim.id
    assert first_broken([*entries[:place], victim, *entries[place:]]) == victim.id + 1
    if place < count - 1:
        assert first_broken([*entries[:place], *entries[place + 1 :]]) == victim.id


def test_a_forger_who_seals_anew_changes_the_last_seal() -> None:
    entries = log(3)
    assert sealed(UNSEALED, 1, WHEN, Deed("ann", "user.banned", "u1")).seal != entries[0].seal
