import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsync.core.sealing import SealBroken, seal, unseal

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
