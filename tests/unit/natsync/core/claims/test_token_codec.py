import base64
import hashlib
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsync.core.claims import token_codec
from natsync.core.claims.account_claims import AccountClaims, account_body
from natsync.core.claims.activation_claims import activation_body
from natsync.core.claims.keys import KeyKind, KeyPair
from natsync.core.claims.operator_claims import deletion_body, operator_body
from natsync.core.claims.token_codec import BadToken, Body, encode, read, read_as, unverified
from natsync.core.claims.user_claims import UserClaims, user_body

OPERATOR = KeyPair(KeyKind.OPERATOR, b"\x01" * 32)
ACCOUNT = KeyPair(KeyKind.ACCOUNT, b"\x02" * 32)
USER = KeyPair(KeyKind.USER, b"\x03" * 32)
NOW = 1_700_000_000

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


def account_token(issued_at: int = NOW) -> str:
    body = account_body(AccountClaims(signing_keys=["AB"], revocations={"UB": 2, "UA": 1}))
    return encode(body, subject=ACCOUNT.public_key, name="a<b>&c", issuer=OPERATOR, issued_at=issued_at)


def signed(claims: object, issuer: KeyPair = ACCOUNT) -> str:
    """Whatever it says."""
    text = f"{token_codec.part(token_codec._HEADER)}.{token_codec.part(claims)}"
    return f"{text}.{token_codec.base64url(issuer.sign(text.encode()))}"


def test_the_token_id_is_the_hash_that_the_go_library_takes() -> None:
    """Written out by hand: standard claims in Go's order, Go's escapes, SHA-512/256, base32 without padding."""
    hashed = (
        '{"iat":1700000000,"iss":"' + OPERATOR.public_key + '","name":"a\\u003cb\\u003e\\u0026c",'
        '"sub":"' + ACCOUNT.public_key + '"}'
    )
    digest = hashlib.new("sha512_256", hashed.encode()).digest()
    assert read(account_token())["jti"] == base64.b32encode(digest).decode().rstrip("=")


def test_a_token_said_a_second_later_has_another_id() -> None:
    assert read(account_token())["jti"] != read(account_token(NOW + 1))["jti"]


def test_a_token_has_the_header_of_version_two_and_no_padding() -> None:
    header, payload, signature = account_token().split(".")
    assert base64.urlsafe_b64decode(header + "==") == b'{"typ":"JWT","alg":"ed25519-nkey"}'
    assert "=" not in header + payload + signature


@given(body=st.dictionaries(st.text(), values), name=st.text(), expires_at=st.integers(0, 2**40), audience=st.text())
def test_what_is_encoded_is_read_again(body: Body, name: str, expires_at: int, audience: str) -> None:
    token = encode(
        {**body, "type": "user", "version": 2},
        subject=USER.public_key,
        name=name,
        issuer=ACCOUNT,
        issued_at=NOW,
        expires_at=expires_at,
        audience=audience,
    )
    said = read(token)
    assert said["nats"] == {**body, "type": "user", "version": 2}
    assert (said.get("name", ""), said.get("exp", 0), said.get("aud", "")) == (name, expires_at, audience)
    assert (said["sub"], said["iss"], said["iat"]) == (USER.public_key, ACCOUNT.public_key, NOW)
    assert said == unverified(token)


def test_only_the_key_above_signs() -> None:
    body = user_body(UserClaims(), account="A")
    with pytest.raises(BadToken):
        encode(body, subject=USER.public_key, name="u", issuer=OPERATOR, issued_at=1)
    with pytest.raises(BadToken):
        encode({"type": "account"}, subject="A", name="a", issuer=ACCOUNT, issued_at=1)
    with pytest.raises(BadToken):
        encode(operator_body(signing_keys=[], system_account=""), subject="O", name="o", issuer=USER, issued_at=1)
    request = encode(deletion_body(["A"]), subject=OPERATOR.public_key, name="n", issuer=OPERATOR, issued_at=1)
    assert read(request)["nats"]["accounts"] == ["A"]


def test_an_altered_token_is_not_believed() -> None:
    header, payload, signature = account_token().split(".")
    other = token_codec.part({**json.loads(token_codec.unbase64url(payload)), "sub": "A"})
    for token in (
        f"{header}.{other}.{signature}",
        f"{header}.{payload}.AAAA",
        f"{header}.{payload}.",
        f"{header}.{payload}",
        f"{header}.{payload}.{signature}.",
        f"{header}.{payload}.{signature}\n",
        f" {header}.{payload}.{signature}",
        "",
        "a.b.c",
        "é.é.é",
        "x" * (token_codec.MAX_TOKEN_CHARACTERS + 1),
    ):
        with pytest.raises(BadToken):
            read(token)


@pytest.mark.parametrize("header", [{"typ": "JWT", "alg": "none"}, {"typ": "JWT", "alg": "ed25519"}, {}, [], None])
def test_a_token_of_another_kind_of_signature_is_not_believed(header: object) -> None:
    text = f"{token_codec.part(header)}.{token_codec.part({'iss': ACCOUNT.public_key})}"
    with pytest.raises(BadToken):
        read(f"{text}.{token_codec.base64url(ACCOUNT.sign(text.encode()))}")


@pytest.mark.parametrize("claims", [None, [], 1, {}, {"iss": None}, {"iss": "A"}, {"iss": ["x"]}])
def test_a_token_that_names_no_issuer_is_not_believed(claims: object) -> None:
    with pytest.raises(BadToken):
        read(signed(claims))


@given(st.text())
def test_no_text_is_read_but_a_token(text: str) -> None:
    for token in (text, f"{text}.{text}.{text}", f"{account_token()}{text}"):
        with suppress(BadToken):
            assert read(token) == read(account_token())


@given(st.integers(0, 400), st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(position: int, change: int) -> None:
    token = bytearray(account_token().encode())
    token[position] ^= change
    with pytest.raises(BadToken):
        read(token.decode("latin-1"))


@given(values)
def test_a_signed_token_of_any_shape_is_read_as_nothing_it_is_not(claims: object) -> None:
    with pytest.raises(BadToken):
        read_as("activation", signed(claims), now=NOW)
    shaped = {"iss": ACCOUNT.public_key, "nats": claims}
    with pytest.raises(BadToken):
        read_as("activation", signed(shaped), now=NOW)


def activation(**claims: object) -> str:
    body = activation_body(subject="a", kind="stream", exporter=ACCOUNT.public_key)
    return signed({"iss": ACCOUNT.public_key, "nats": body, **claims})


def test_a_token_is_read_as_what_it_is() -> None:
    assert read_as("activation", activation(exp=NOW, nbf=NOW), now=NOW)["nats"]["subject"] == "a"
    assert read_as("account", account_token())["nats"]["revocations"] == {"UB": 2, "UA": 1}
    with pytest.raises(BadToken, match="not a token of type user"):
        read_as("user", account_token())


def test_a_token_out_of_its_time_is_not_believed() -> None:
    for claims in ({"exp": NOW - 1}, {"nbf": NOW + 1}, {"exp": str(NOW + 9)}, {"exp": True}, {"exp": NOW + 0.5}):
        with pytest.raises(BadToken, match="expired"):
            read_as("activation", activation(**claims), now=NOW)
    assert read_as("activation", activation(exp=NOW - 1))


def test_a_token_of_another_version_is_not_believed() -> None:
    with pytest.raises(BadToken, match="version"):
        read_as("activation", activation(nats={"type": "activation", "version": 1}))


def test_a_users_key_signs_nothing() -> None:
    body = activation_body(subject="a", kind="stream", exporter=ACCOUNT.public_key)
    with pytest.raises(BadToken, match="kind that signs"):
        read_as("activation", signed({"iss": USER.public_key, "nats": body}, USER))


@given(values)
def test_json_as_go_spells_it_says_the_same(value: object) -> None:
    spelt = token_codec.go_json(value)
    assert json.loads(spelt) == value
    assert not any(character in spelt for character in (b"<", b">", b"&", "\u2028".encode(), "\u2029".encode()))


def test_content_does_not_depend_on_time_or_order() -> None:
    one = token_codec.content_hash(name="n", issuer="i", body={"a": 1, "b": 2})
    assert one == token_codec.content_hash(name="n", issuer="i", body={"b": 2, "a": 1})
    others = (("n", "i"), ("m", "i"), ("n", "j"))
    assert len({one, *(token_codec.content_hash(name=n, issuer=i, body={}) for n, i in others)}) == 4
