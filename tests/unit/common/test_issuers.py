"""Tokens against an issuer that answers, one that does not, and one that answers nonsense."""

import time
from typing import Any

import httpx
import pytest

from common.adapters.issuers import IssuerKeys, TokenVerifier, readable_keys
from common.core.errors import Unauthenticated, UpstreamUnavailable
from common.core.tokens import SigningKey, TrustedIssuer

KEY = SigningKey(b"\x01" * 32)
TRUSTED = TrustedIssuer("https://id.example", "chathub", ("ES256",))


def token(key: SigningKey = KEY) -> str:
    claims = {"iss": TRUSTED.issuer, "aud": TRUSTED.audience, "sub": "ann", "exp": int(time.time()) + 60}
    return key.sign(claims)


class Publisher:
    """Answers for the issuer, counts how often it was asked, and can be told to fail."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self.status = 200
        self.asked = 0

    async def __call__(self, _request: httpx.Request) -> httpx.Response:
        self.asked += 1
        return httpx.Response(self.status, json=self.document)

    def verifier(self) -> TokenVerifier:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self))
        return TokenVerifier(client, [IssuerKeys(TRUSTED, "https://id.example/keys")])


async def test_a_key_set_is_fetched_once_for_many_tokens() -> None:
    publisher = Publisher({"keys": [{"kty": "of another age", "kid": "old"}, KEY.public_jwk]})
    verifier = publisher.verifier()
    for _ in range(5):
        assert (await verifier.verify(token())).subject == "ann"
    assert publisher.asked == 1


async def test_unknown_keys_do_not_make_us_ask_again_and_again() -> None:
    publisher = Publisher({"keys": [KEY.public_jwk]})
    verifier = publisher.verifier()
    for number in range(2, 102):
        with pytest.raises(Unauthenticated):
            await verifier.verify(token(SigningKey(bytes([number]) * 32)))
    assert publisher.asked == 1


async def test_an_issuer_that_is_away_is_no_reason_to_call_the_token_bad() -> None:
    publisher = Publisher({})
    publisher.status = 503
    with pytest.raises(UpstreamUnavailable):
        await publisher.verifier().verify(token())


@pytest.mark.parametrize("document", [[], "keys", None, {}, {"keys": None}, {"keys": "x"}, 7], ids=repr)
async def test_what_is_no_key_set_counts_as_no_answer(document: Any) -> None:
    with pytest.raises(UpstreamUnavailable):
        await Publisher(document).verifier().verify(token())


@pytest.mark.parametrize("entry", [None, 7, "x", [], {}, {"kid": "a"}, {"kid": "a", "kty": "EC"}], ids=repr)
def test_an_unreadable_key_is_left_out(entry: Any) -> None:
    assert list(readable_keys({"keys": [entry, KEY.public_jwk]})) == [KEY.key_id]
