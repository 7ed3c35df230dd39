"""Whose a part is, and how many there may be."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.uploads.part_name import (
    Bounds,
    Claim,
    Kind,
    PartName,
    claim_of_account,
    claim_of_guest,
    expiry,
    has_room,
    is_over,
    is_upload_id,
    keeps_answer,
    parsed,
)

ANN = claim_of_account("users", "ann", "s1")
BOUNDS = Bounds(100, 5, 50, 3, idle_seconds=10, most_seconds=60, done_seconds=5)


def part(claim: Claim = ANN, size_bytes: int = 10, began: int = 1000, kind: Kind = "part") -> PartName:
    return PartName(claim, "A" * 32, size_bytes, began, kind)


@given(st.text(), st.text(), st.integers(0, 2**40), st.integers(0, 2**35))
def test_a_name_is_read_as_it_was_written(record: str, session: str, size: int, began: int) -> None:
    name = part(claim_of_account("users", record, session), size, began)
    assert parsed(str(name)) == name
    assert parsed(str(replace(name, kind="done"))) == replace(name, kind="done")


@given(st.text())
def test_no_other_text_is_a_name(text: str) -> None:
    name = parsed(text)
    assert name is None or str(name) == text


@pytest.mark.parametrize(
    "text", ["", "../x", "a/b", "A" * 31, "A" * 33, "A" * 31 + "\n", "A" * 31 + "/", "A" * 31 + "\0"]
)
def test_what_could_be_a_path_is_no_id(text: str) -> None:
    assert not is_upload_id(text)


def test_every_session_every_account_and_every_network_has_a_claim_of_its_own() -> None:
    claims = {
        ANN,
        claim_of_account("users", "ann", "s2"),
        claim_of_account("users", "bob", "s1"),
        claim_of_account("devices", "ann", "s1"),
        claim_of_guest("10.0.0.1"),
        claim_of_guest("10.0.0.2"),
        claim_of_guest("users/ann"),
    }
    assert len(claims) == 7
    assert ANN.owner == claim_of_account("users", "ann", "s2").owner  # counted together


def test_there_is_room_for_so_much_and_so_many_in_all_and_for_each() -> None:
    bob, eve = claim_of_account("users", "bob", "s"), claim_of_account("users", "eve", "s")
    assert has_room(BOUNDS, [], ANN.owner, 50)
    assert not has_room(BOUNDS, [], ANN.owner, 51)
    assert not has_room(BOUNDS, [part(size_bytes=45)], ANN.owner, 6)
    assert not has_room(BOUNDS, [part(size_bytes=0)] * 3, ANN.owner, 0)
    assert has_room(BOUNDS, [part(size_bytes=0)] * 3, bob.owner, 0)
    assert not has_room(BOUNDS, [part(ANN, 50), part(bob, 45)], eve.owner, 6)
    assert not has_room(BOUNDS, [part(ANN, 0)] * 3 + [part(bob, 0)] * 2, eve.owner, 0)
    assert has_room(BOUNDS, [part(ANN, 50, kind="done")] * 9, ANN.owner, 50)


def test_answers_are_kept_so_many_in_all_and_for_each() -> None:
    bob = claim_of_account("users", "bob", "s")
    bounds = replace(BOUNDS, max_done=3, max_owner_done=2)
    assert keeps_answer(bounds, [part(kind="done"), part()], ANN.owner)
    assert not keeps_answer(bounds, [part(kind="done")] * 2, ANN.owner)
    assert keeps_answer(bounds, [part(kind="done")] * 2, bob.owner)
    assert not keeps_answer(bounds, [part(kind="done")] * 3, bob.owner)


def test_a_part_waits_for_more_and_not_for_ever() -> None:
    assert expiry(BOUNDS, part(began=1000), changed=1020) == 1030
    assert expiry(BOUNDS, part(began=1000), changed=1059) == 1060
    assert not is_over(BOUNDS, part(began=1000), changed=1020, now=1030)
    assert is_over(BOUNDS, part(began=1000), changed=1020, now=1030.1)
    assert is_over(BOUNDS, part(began=1000), changed=1060, now=1060.1)
    assert is_over(BOUNDS, part(began=1000, kind="done"), changed=1020, now=1025.1)
