import nkeys  # pyright: ignore[reportMissingTypeStubs]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsync.core.claims.keys import BadKey, KeyKind, KeyPair, is_public_key, verifies

raw = st.binary(min_size=32, max_size=32)
kinds = st.sampled_from(list(KeyKind))


@given(kinds, raw)
def test_a_key_survives_its_spelling_and_agrees_with_nkeys(kind: KeyKind, secret: bytes) -> None:
    pair = KeyPair(kind, secret)
    again = KeyPair.from_seed(pair.seed)
    theirs = nkeys.from_seed(bytearray(pair.seed.encode()))
    assert (again.kind, again.public_key) == (kind, pair.public_key)
    assert pair.public_key.encode() == theirs.public_key
    assert pair.private_key.encode() == theirs.private_key
    assert pair.sign(b"x") == theirs.sign(b"x")


@given(kinds, raw)
def test_a_signature_is_good_for_its_data_and_key_alone(kind: KeyKind, secret: bytes) -> None:
    pair = KeyPair(kind, secret)
    signature = pair.sign(b"data")
    assert verifies(pair.public_key, b"data", signature)
    assert not verifies(pair.public_key, b"other", signature)
    assert not verifies("nonsense", b"data", signature)


def test_the_first_letter_says_whose_key_it_is() -> None:
    letters = {kind: KeyPair(kind, b"\x01" * 32).public_key[0] for kind in KeyKind}
    assert letters == {KeyKind.ACCOUNT: "A", KeyKind.OPERATOR: "O", KeyKind.USER: "U"}
    assert KeyPair(KeyKind.USER, b"\x01" * 32).seed.startswith("SU")


@pytest.mark.parametrize("text", ["", "S", "not base32!", "SUAAAA", "A" * 56])
def test_what_is_no_seed_is_refused(text: str) -> None:
    with pytest.raises(BadKey):
        KeyPair.from_seed(text)


def test_a_mistyped_key_is_noticed() -> None:
    public_key = KeyPair(KeyKind.ACCOUNT, b"\x01" * 32).public_key
    assert is_public_key(public_key, KeyKind.ACCOUNT)
    assert not is_public_key(public_key, KeyKind.USER)
    assert not is_public_key(public_key[:-1] + ("A" if public_key[-1] != "A" else "B"), KeyKind.ACCOUNT)
