"""A stored token opens for its own session, with its own key, unchanged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.core.errors import Unauthenticated
from gateway.core.sessions.sealed_session import SessionSeal

SEAL = SessionSeal(b"k" * 32)
NONCE = b"n" * 12


@given(st.text(), st.text(), st.binary(min_size=12, max_size=12))
def test_what_is_sealed_opens_again(session: str, token: str, nonce: bytes) -> None:
    session, token = session.encode("utf-8", "replace").decode(), token.encode("utf-8", "replace").decode()
    assert SEAL.open(session, SEAL.seal(session, token, nonce)) == token


@given(st.binary(max_size=80))
def test_anything_else_stays_closed(stored: bytes) -> None:
    with pytest.raises(Unauthenticated):
        SEAL.open("session", stored)


def test_another_session_or_another_key_does_not_open_it() -> None:
    sealed = SEAL.seal("session", "token", NONCE)
    with pytest.raises(Unauthenticated):
        SEAL.open("other", sealed)
    with pytest.raises(Unauthenticated):
        SessionSeal(b"x" * 32).open("session", sealed)
    assert b"token" not in sealed
