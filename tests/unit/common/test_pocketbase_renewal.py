import jwt
import pytest

from common.adapters.pocketbase import RENEWED_BEFORE_SECONDS, renewal
from common.core.errors import UpstreamUnavailable


def token(**claims: object) -> str:
    return jwt.encode(claims, "k" * 32, algorithm="HS256")


def test_a_superusers_token_is_renewed_before_it_lapses() -> None:
    assert renewal(token(exp=1_000_000)) == 1_000_000 - RENEWED_BEFORE_SECONDS


@pytest.mark.parametrize("nonsense", ["", "x", "a.b.c", token(), token(exp=None)])
def test_what_says_no_end_is_no_token_of_pocketbases(nonsense: str) -> None:
    with pytest.raises(UpstreamUnavailable):
        renewal(nonsense)
