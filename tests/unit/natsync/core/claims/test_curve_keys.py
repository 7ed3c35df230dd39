import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from natsync.core.claims.curve_keys import BoxBroken, CurveKey, raw_public_key
from natsync.core.claims.keys import BadKey, KeyKind, KeyPair

OURS, SERVERS, OTHERS = CurveKey(b"\1" * 32), CurveKey(b"\2" * 32), CurveKey(b"\3" * 32)
NONCE = b"n" * 24


def test_a_key_is_spelt_as_nkeys_spells_it_and_comes_back_from_its_seed() -> None:
    assert OURS.public_key.startswith("X")
    assert OURS.seed.startswith("SX")
    assert CurveKey.from_seed(OURS.seed).public_key == OURS.public_key


@given(st.binary(min_size=32, max_size=32))
def test_the_public_key_is_that_of_x25519(raw: bytes) -> None:
    expected = X25519PrivateKey.from_private_bytes(raw).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert raw_public_key(CurveKey(raw).public_key) == expected


@pytest.mark.parametrize("seed", ["", "SX", KeyPair(KeyKind.USER, b"\1" * 32).seed, OURS.public_key])
def test_anything_but_a_curve_seed_is_refused(seed: str) -> None:
    with pytest.raises(BadKey):
        CurveKey.from_seed(seed)


@given(st.binary(min_size=1, max_size=2000))
def test_what_is_sealed_opens_for_the_recipient_and_for_nobody_else(data: bytes) -> None:
    box = SERVERS.seal(data, recipient=OURS.public_key, nonce=NONCE)
    assert OURS.open(box, sender=SERVERS.public_key) == data
    with pytest.raises(BoxBroken):
        OTHERS.open(box, sender=SERVERS.public_key)
    with pytest.raises(BoxBroken):
        OURS.open(box, sender=OTHERS.public_key)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_an_altered_box_does_not_open(where: int, change: int) -> None:
    box = bytearray(SERVERS.seal(b"the token", recipient=OURS.public_key, nonce=NONCE))
    box[where % len(box)] ^= change
    with pytest.raises(BoxBroken):
        OURS.open(bytes(box), sender=SERVERS.public_key)


@pytest.mark.parametrize("box", [b"", b"xkv1", b"xkv1" + NONCE, b"xkv2" + NONCE + b"x" * 40])
def test_what_is_no_box_is_refused(box: bytes) -> None:
    with pytest.raises(BoxBroken):
        OURS.open(box, sender=SERVERS.public_key)


def test_a_sender_that_is_no_curve_key_is_refused() -> None:
    box = SERVERS.seal(b"x", recipient=OURS.public_key, nonce=NONCE)
    with pytest.raises(BoxBroken):
        OURS.open(box, sender=KeyPair(KeyKind.USER, b"\1" * 32).public_key)
