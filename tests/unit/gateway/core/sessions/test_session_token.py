"""What a session says about its bearer."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.core.errors import Unauthenticated
from common.core.tokens import SigningKey, TrustedIssuer, base64url
from gateway.core.refusals import UnreadableAnswer
from gateway.core.sessions.grants import texts_in
from gateway.core.sessions.session_token import (
    PocketBaseToken,
    SessionIds,
    Terms,
    claims_of,
    read_pocketbase_token,
    username_of,
    verified,
)

TOKEN = PocketBaseToken("a.b.c", "ann", "_pb_users_auth_", 2000, is_refreshable=True)
TERMS = Terms("https://example.com", ("gateway", "chathub"), "roles", frozenset({"users"}))
IDS = SessionIds("session", "token", "ChatClient")
KEY = SigningKey(b"\1" * 32)
TRUSTED = TrustedIssuer("https://example.com", "gateway", ("ES256",), leeway_seconds=0)


def claims(record: dict[str, Any], collection: str = "users") -> dict[str, Any]:
    return claims_of(TOKEN, record, collection, IDS, terms=TERMS, now=1000)


def test_claims_live_as_long_as_pocketbase_s_token() -> None:
    told = claims({"roles": ["admin"], "name": "Ann"})
    assert (told["iat"], told["nbf"], told["exp"]) == (1000, 1000, 2000)
    assert told["realm_access"] == {"roles": ["admin"]}
    assert told["preferred_username"] == "Ann"


def test_roles_count_in_the_chosen_collections_only() -> None:
    assert claims({"roles": ["admin"]}, "devices")["realm_access"] == {"roles": []}


def test_what_was_signed_is_accepted_back_until_it_expires() -> None:
    signed = KEY.sign(claims({}))
    key = KEY.verification_key
    assert verified(signed, key, TRUSTED, now=1999).session_id == "session"
    for now in (999, 2000):
        with pytest.raises(Unauthenticated):
            verified(signed, key, TRUSTED, now=now)
    with pytest.raises(Unauthenticated):
        verified(KEY.sign({**claims({}), "sid": ""}), key, TRUSTED, now=1500)
    with pytest.raises(Unauthenticated):
        verified(SigningKey(b"\2" * 32).sign(claims({})), key, TRUSTED, now=1500)


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ({"username": "ann", "name": "Ann"}, "ann"),
        ({"username": " ", "name": "Ann"}, "Ann"),
        ({"nats_username": "sensor"}, "sensor"),
        ({"email": "ann@example.com"}, None),
        ({"username": "Ann@example.com", "email": "ann@example.com", "name": "Ann"}, "Ann"),
        ({"name": 7}, None),
    ],
)
def test_a_name_is_never_the_e_mail_address(record: dict[str, Any], name: str | None) -> None:
    assert username_of(record) == name


@pytest.mark.parametrize(
    ("value", "roles"),
    [
        (["b", "a", "b", " ", 7], ["a", "b"]),
        ("a, b", ["a", "b"]),
        ("", []),
        (None, []),
        ({"admin": True}, []),
        (1, []),
    ],
)
def test_roles_are_texts(value: Any, roles: list[str]) -> None:
    assert texts_in(value) == roles


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_no_shape_of_roles_is_an_error(value: Any) -> None:
    assert all(isinstance(role, str) and role for role in texts_in(value))


def test_pocketbase_s_token_is_read() -> None:
    body = b'{"collectionId":"c","exp":2000,"id":"ann","refreshable":true,"type":"auth"}'
    text = f"h.{base64url(body)}.s"
    assert read_pocketbase_token(text) == PocketBaseToken(text, "ann", "c", 2000, is_refreshable=True)


@given(st.text())
def test_anything_else_is_not_passed_on(text: str) -> None:
    with pytest.raises(UnreadableAnswer):
        read_pocketbase_token(text)


@pytest.mark.parametrize("body", [b"[]", b"7", b"{}", b'{"type":"file","id":"a","collectionId":"c","exp":1}'])
def test_a_token_of_another_kind_is_not_passed_on(body: bytes) -> None:
    with pytest.raises(UnreadableAnswer):
        read_pocketbase_token(f"h.{base64url(body)}.s")
