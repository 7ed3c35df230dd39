"""Where a browser is sent to sign in, and what is checked before."""

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.core.errors import InvalidRequest, NotFound
from gateway.core.refusals import UnreadableAnswer
from gateway.core.sessions.provider_sign_in import Provider, challenge_of, check_target, provider_of, sign_in_url

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"  # both from RFC 7636, appendix B


def methods(url: str, verifier: str = VERIFIER) -> dict[str, Any]:
    return {"oauth2": {"providers": [{"name": "oidc", "authURL": url, "codeVerifier": verifier}]}}


def test_the_challenge_is_that_of_the_rfc() -> None:
    assert challenge_of(VERIFIER) == CHALLENGE
    url = f"https://id.example.com/auth?code_challenge={CHALLENGE}&redirect_uri="
    assert provider_of(methods(url), "oidc") == Provider("oidc", url, VERIFIER)


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ({}, NotFound),
        ({"oauth2": None}, NotFound),
        ({"oauth2": {"providers": [{"name": "other"}]}}, NotFound),
        (methods("https://id.example.com/auth?redirect_uri="), InvalidRequest),
        (methods(f"https://id.example.com/auth?code_challenge={CHALLENGE}", ""), InvalidRequest),
        (methods("https://id.example.com/auth?code_challenge=other"), UnreadableAnswer),
        (methods(f"https://id.example.com/auth?code_challenge={CHALLENGE}&code_challenge=x"), UnreadableAnswer),
        (methods(f"https://id.example.com/auth?code_challenge={CHALLENGE}", "short"), UnreadableAnswer),
    ],
)
def test_without_a_challenge_that_fits_nobody_is_sent_anywhere(told: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        provider_of(told, "oidc")


@given(st.text(), st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), max_size=3))
def test_state_and_callback_are_ours_and_all_else_is_the_providers(state: str, others: list[tuple[str, str]]) -> None:
    query = urlencode([*others, ("state", "pocketbases"), ("redirect_uri", "")])
    url = sign_in_url(
        Provider("oidc", f"https://id.example.com/auth?{query}", VERIFIER), state=state, callback="https://x/cb"
    )
    kept = [pair for pair in others if pair[0] not in ("state", "redirect_uri")]
    assert parse_qsl(urlsplit(url).query, keep_blank_values=True) == [
        *kept,
        ("state", state),
        ("redirect_uri", "https://x/cb"),
    ]


@pytest.mark.parametrize(
    "target", ["https://a.example.com", "https://a.example.com/x/", "//a.example.com/x", "javascript:1"]
)
def test_a_target_that_is_not_listed_to_the_letter_is_refused(target: str) -> None:
    check_target("", ())
    check_target("https://a.example.com/x", {"https://a.example.com/x"})
    with pytest.raises(InvalidRequest):
        check_target(target, {"https://a.example.com/x"})
