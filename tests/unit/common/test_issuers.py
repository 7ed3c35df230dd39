"""Tokens against an issuer that answers, one that does not, and one that answers nonsense."""

import time
from collections.abc import Coroutine
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.adapters.issuers import IssuerKeys, TokenVerifier
from common.core.errors import Unauthenticated, UpstreamUnavailable
from common.core.identity import Identity
from common.core.key_sets import read_key
from common.core.tokens import InvalidTerms, SigningKey, TrustedIssuer

KEY = SigningKey(b"\x01" * 32)
OTHER = SigningKey(b"\x02" * 32)
TRUSTED = TrustedIssuer("https://id.example", "chathub", ("ES256",))


def token(key: SigningKey = KEY, **changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": TRUSTED.issuer, "aud": TRUSTED.audience, "sub": "ann", "sid": "s1", "iat": now, "exp": now + 60}
    return key.sign({**claims, **changes})


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


def local_verifier(**options: Any) -> TokenVerifier:
    """Knows its keys beforehand, so that it never waits."""
    return TokenVerifier(httpx.AsyncClient(), [IssuerKeys(TRUSTED, keys=(KEY.verification_key,))], **options)


def at_once(waiting: Coroutine[Any, Any, Identity]) -> Identity:
    """What a coroutine returns that never suspends."""
    try:
        waiting.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


async def test_a_key_set_is_fetched_once_for_many_tokens() -> None:
    publisher = Publisher({"keys": [{"kty": "of another age", "kid": "old"}, KEY.public_jwk]})
    verifier = publisher.verifier()
    for number in range(5):
        assert (await verifier.verify(token(jti=number))).subject == "ann"
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


@pytest.mark.parametrize("document", [[], "keys", None, {}, {"keys": None}, {"keys": "x"}, {"keys": []}, 7], ids=repr)
async def test_what_is_no_key_set_counts_as_no_answer(document: Any) -> None:
    with pytest.raises(UpstreamUnavailable):
        await Publisher(document).verifier().verify(token())


def test_a_token_is_verified_once_and_remembered_after_that() -> None:
    verifier, good = local_verifier(), token()
    assert verifier.cached(good) is None
    first = at_once(verifier.verify(good))
    assert at_once(verifier.verify(good)) is first
    assert verifier.cached(good.encode().decode()) is first


def test_nothing_is_remembered_of_a_token_that_was_refused() -> None:
    verifier, forged = local_verifier(), token() + "AA"
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            at_once(verifier.verify(forged))
    assert verifier.cached(forged) is None


def test_a_remembered_token_ends_when_it_expires() -> None:
    trusted = TrustedIssuer(TRUSTED.issuer, TRUSTED.audience, ("ES256",), leeway_seconds=0)
    verifier = TokenVerifier(httpx.AsyncClient(), [IssuerKeys(trusted, keys=(KEY.verification_key,))])
    end = int(time.time()) + 2
    short = token(exp=end)
    at_once(verifier.verify(short))
    while verifier.cached(short):
        assert time.time() < end + 1
        time.sleep(0.01)
    with pytest.raises(Unauthenticated, match="expired"):
        at_once(verifier.verify(short))


def test_a_revoked_session_is_refused_at_once_whether_remembered_or_not() -> None:
    verifier = local_verifier()
    remembered, unseen, other = token(), token(jti="unseen"), token(sid="s2")
    at_once(verifier.verify(remembered))
    verifier.revoke_session("s1", until=time.time() + 60)
    for ended in (remembered, unseen):
        with pytest.raises(Unauthenticated, match="ended"):
            at_once(verifier.verify(ended))
    assert at_once(verifier.verify(other)).session_id == "s2"


def test_a_revoked_subject_is_refused_for_its_older_tokens_until_it_is_pardoned() -> None:
    verifier = local_verifier()
    now = int(time.time())
    older, newer = token(iat=now - 10), token(iat=now)
    at_once(verifier.verify(older))
    verifier.revoke_subject("ann", issued_before=now, until=now + 60)
    with pytest.raises(Unauthenticated, match="ended"):
        at_once(verifier.verify(older))
    assert at_once(verifier.verify(newer))
    verifier.pardon_subject("ann")
    assert at_once(verifier.verify(older))


def test_two_issuers_with_one_key_id_are_not_confused() -> None:
    stranger = {**OTHER.public_jwk, "kid": KEY.key_id}
    theirs = TrustedIssuer("https://other.example", TRUSTED.audience, ("ES256",))
    sources = [IssuerKeys(TRUSTED, keys=(KEY.verification_key,)), IssuerKeys(theirs, keys=(read_key(stranger),))]
    verifier = TokenVerifier(httpx.AsyncClient(), sources)
    with pytest.raises(Unauthenticated, match="signature"):
        at_once(verifier.verify(token(iss=theirs.issuer)))
    assert at_once(verifier.verify(token())).issuer == TRUSTED.issuer


def test_an_issuer_that_is_listed_twice_is_a_mistake() -> None:
    source = IssuerKeys(TRUSTED, keys=(KEY.verification_key,))
    with pytest.raises(InvalidTerms, match="twice"):
        TokenVerifier(httpx.AsyncClient(), [source, source])


GOOD = token(exp=int(time.time()) + 3600)
VERIFIER = local_verifier()


@given(
    st.text(max_size=200)
    | st.text("eyJ.-_A9\ud800", max_size=60)
    | st.integers(0, len(GOOD) - 1).map(lambda end: GOOD[:end])
    | st.permutations(GOOD.split(".")).filter(lambda parts: parts != GOOD.split(".")).map(".".join)
    | st.tuples(st.text(min_size=1, max_size=3), st.integers(0, len(GOOD))).map(
        lambda change: GOOD[: change[1]] + change[0] + GOOD[change[1] :]
    )
)
def test_a_garbled_token_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(Unauthenticated):
        at_once(VERIFIER.verify(text))
