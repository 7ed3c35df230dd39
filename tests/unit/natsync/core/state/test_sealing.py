import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsync.core.state.sealing import SealBroken, resealed, seal, unseal

KEY, NONCE = b"k" * 32, b"n" * 12


@given(st.text())
def test_what_is_sealed_opens_again(text: str) -> None:
    sealed = seal(text, key=KEY, nonce=NONCE)
    assert sealed.startswith("enc::")
    assert base64.b64decode(sealed.removeprefix("enc::"))[:12] == NONCE
    assert unseal(sealed, key=KEY) == text


@pytest.mark.parametrize(
    "text", ["", "SUPLAIN", "enc::", "enc::!!", "enc::AAAA", seal("x", key=b"o" * 32, nonce=NONCE)]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(SealBroken):
        unseal(text, key=KEY)


def test_an_altered_secret_is_refused() -> None:
    data = bytearray(base64.b64decode(seal("secret", key=KEY, nonce=NONCE).removeprefix("enc::")))
    data[-1] ^= 1
    with pytest.raises(SealBroken):
        unseal("enc::" + base64.b64encode(data).decode(), key=KEY)


def test_a_secret_is_sealed_anew_once_and_then_left_alone() -> None:
    new = b"w" * 32
    once = resealed(seal("secret", key=KEY, nonce=NONCE), old=KEY, new=new, nonce=b"m" * 12)
    assert unseal(once, key=new) == "secret"
    assert resealed(once, old=KEY, new=new, nonce=b"l" * 12) == once
    with pytest.raises(SealBroken):
        resealed(once, old=b"x" * 32, new=b"y" * 32, nonce=NONCE)
