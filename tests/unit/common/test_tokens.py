"""What a verified token says, and every way in which a token is refused."""

import base64
import hashlib
import hmac
import json
import time
from types import MappingProxyType
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.utils import der_to_raw_signature

from common.core.errors import Forbidden, Unauthenticated
from common.core.identity import Identity, require_role
from common.core.key_sets import read_key
from common.core.tokens import MAX_TOKEN_BYTES, InvalidTerms, SigningKey, TrustedIssuer, base64url, read_token, verify
from tests.servers.issuer import RealmKey, keycloak_claims

KEY = SigningKey(b"\x01" * 32)
OTHER = SigningKey(b"\x02" * 32)
REALM = RealmKey()
TRUSTED = TrustedIssuer("https://id.example", "chathub", ("ES256",), frozenset({"ChatClient"}))
KEYCLOAK = TrustedIssuer("https://sso.example/realms/Chatserver", "chathub", ("RS256",), frozenset({"ChatClient"}))
NOW = 1_800_000_000.0


def claims(**changes: Any) -> dict[str, Any]:
    plain = {
        "iss": "https://id.example",
        "aud": ["gateway", "chathub"],
        "sub": "user-1",
        "exp": int(NOW) + 60,
        "azp": "ChatClient",
        "typ": "Bearer",
        "sid": "session-1",
        "preferred_username": "ann",
        "realm_access": {"roles": ["admin"]},
    }
    return {name: value for name, value in {**plain, **changes}.items() if value is not None}


def check(token: str, trusted: TrustedIssuer = TRUSTED, key: SigningKey = KEY) -> Identity:
    return verify(token, key.verification_key, trusted, NOW)


def part(value: object) -> str:
    return base64url(value if isinstance(value, bytes) else json.dumps(value).encode())


def signed(payload: object, **header: Any) -> str:
    """Anything at all under a good signature, and headers that PyJWT would not write."""
    head = {"alg": "ES256", "typ": "JWT", "kid": KEY.key_id, **header}
    text = f"{part({name: value for name, value in head.items() if value is not None})}.{part(payload)}"
    der = KEY._key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
    return f"{text}.{base64url(der_to_raw_signature(der, KEY._key.curve))}"


def with_secret(secret: bytes, **header: Any) -> str:
    text = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': KEY.key_id, **header})}.{part(claims())}"
    return f"{text}.{base64url(hmac.digest(secret, text.encode(), 'sha256'))}"


def public_key_spellings() -> list[bytes]:
    key = KEY._key.public_key()
    encoding, public, point = serialization.Encoding, serialization.PublicFormat.SubjectPublicKeyInfo, KEY.public_jwk
    pem = key.public_bytes(encoding.PEM, public)
    return [
        pem,
        pem.strip(),
        key.public_bytes(encoding.DER, public),
        key.public_bytes(encoding.X962, serialization.PublicFormat.UncompressedPoint),
        key.public_bytes(encoding.OpenSSH, serialization.PublicFormat.OpenSSH),
        point["x"].encode(),
        base64.urlsafe_b64decode(point["x"] + "="),
        json.dumps(point).encode(),
        json.dumps({"keys": [point]}).encode(),
        b"",
    ]


def test_a_good_token_tells_who_is_asking() -> None:
    identity = check(KEY.sign(claims()))
    assert (identity.subject, identity.username, identity.client_id) == ("user-1", "ann", "ChatClient")
    assert identity.issuer == TRUSTED.issuer
    assert identity.roles == {"admin"}
    assert identity.session_id == "session-1"
    assert identity.expires_at == int(NOW) + 60


def test_a_username_is_cut_where_it_is_longer_than_anybody_wants_to_be_told() -> None:
    assert check(KEY.sign(claims(preferred_username="é" * 256))).username == "é" * 256
    assert check(KEY.sign(claims(preferred_username="é" * 257))).username == "é" * 256
    nameless = claims(sub="s" * 300)
    del nameless["preferred_username"]
    assert (check(KEY.sign(nameless)).subject, check(KEY.sign(nameless)).username) == ("s" * 300, "s" * 256)


def test_an_identity_cannot_be_changed_at_any_depth_and_does_not_show_its_claims() -> None:
    identity = check(KEY.sign(claims(deep=[{"list": [1]}])))
    assert isinstance(identity.claims["realm_access"], MappingProxyType)
    assert identity.claims["deep"][0]["list"] == (1,)
    with pytest.raises(TypeError):
        identity.claims["sub"] = "eve"  # pyright: ignore[reportIndexIssue] - that is the point
    with pytest.raises(AttributeError):
        identity.subject = "eve"  # pyright: ignore[reportAttributeAccessIssue] - that is the point
    assert "realm_access" not in repr(identity)
    assert identity in {identity}


def test_keycloak_s_access_tokens_are_accepted_as_they_are() -> None:
    key = read_key(REALM.public_jwk)
    told = keycloak_claims(KEYCLOAK.issuer)
    identity = verify(REALM.sign(told), key, KEYCLOAK, time.time())
    assert (identity.username, identity.client_id, identity.session_id) == ("ann", "ChatClient", told["sid"])
    assert identity.roles == {"default-roles-chatserver", "offline_access", "admin"}
    assert verify(REALM.sign({**told, "aud": "chathub"}), key, KEYCLOAK, time.time()) == identity


@pytest.mark.parametrize(
    "changes",
    [
        {"typ": "ID", "aud": "chathub", "at_hash": "x"},
        {"typ": "Refresh"},
        {"typ": "Offline"},
        {"typ": "Logout", "events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
        {"typ": None, "events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
        {"typ": None, "at_hash": "MTIzNDU2"},
        {"typ": "DPoP"},
        {"aud": "account"},
        {"azp": "AnotherClient"},
        {"sub": None},
        {"iss": "https://sso.example/realms/Other"},
        {"iss": "https://sso.example/realms/Chatserver/"},
    ],
    ids=str,
)
def test_keycloak_s_other_tokens_are_refused(changes: dict[str, Any]) -> None:
    token = REALM.sign(keycloak_claims(KEYCLOAK.issuer, **changes))
    with pytest.raises(Unauthenticated, match=r"access token|audience|client|lacks|another issuer"):
        verify(token, read_key(REALM.public_jwk), KEYCLOAK, time.time())


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"iss": "https://evil.example"}, "iss"),
        ({"iss": 7}, "iss"),
        ({"iss": None}, "iss"),
        ({"aud": "gateway"}, "aud"),
        ({"aud": None}, "aud"),
        ({"aud": []}, "aud"),
        ({"aud": {"chathub": 1}}, "aud"),
        ({"aud": ["chathub", 7]}, "aud"),
        ({"exp": None}, "exp"),
        ({"exp": int(NOW) - 60}, "exp"),
        ({"exp": "tomorrow"}, "exp"),
        ({"exp": float(NOW) + 60.5}, "exp"),
        ({"exp": True}, "exp"),
        ({"exp": -1}, "exp"),
        ({"exp": 10**300}, "exp"),
        ({"exp": 2**63}, "exp"),
        ({"exp": [int(NOW) + 60]}, "exp"),
        ({"nbf": int(NOW) + 60}, "nbf"),
        ({"nbf": False}, "nbf"),
        ({"nbf": "0"}, "nbf"),
        ({"iat": 1e300}, "iat"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": 7}, "sub"),
        ({"typ": "ID"}, "typ"),
        ({"typ": "Refresh"}, "typ"),
        ({"typ": 7}, "typ"),
        ({"typ": ["Bearer"]}, "typ"),
        ({"azp": "Unknown"}, "azp"),
        ({"azp": None}, "azp"),
        ({"azp": ["ChatClient"]}, "azp"),
        ({"azp": "", "client_id": "ChatClient"}, "azp"),
        ({"type": "file"}, "access token"),
        ({"type": "passwordReset"}, "access token"),
    ],
    ids=str,
)
def test_a_token_with_a_wrong_claim_is_refused_for_that_claim(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(Unauthenticated, match=fault):
        check(signed(claims(**changes)))


def test_claims_can_be_required() -> None:
    trusted = TrustedIssuer(TRUSTED.issuer, "chathub", ("ES256",), required_claims=("jti", "iat"))
    assert check(signed(claims(jti="x", iat=int(NOW))), trusted)
    with pytest.raises(Unauthenticated, match="iat"):
        check(signed(claims(jti="x")), trusted)


def test_an_access_token_of_rfc_9068_is_accepted() -> None:
    token = signed(claims(typ=None, azp=None, client_id="ChatClient", type={"of": "its own"}), typ="at+JWT")
    assert check(token).client_id == "ChatClient"


def test_clock_skew_is_forgiven_up_to_the_leeway() -> None:
    assert check(KEY.sign(claims(exp=int(NOW) - 4)))
    assert check(KEY.sign(claims(nbf=int(NOW) + 5)))
    with pytest.raises(Unauthenticated, match="expired"):
        check(KEY.sign(claims(exp=int(NOW) - 5)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("issuer", ""),
        ("audience", ""),
        ("algorithms", ()),
        ("algorithms", ("none",)),
        ("algorithms", ("ES256", "HS256")),
        ("algorithms", ("HS512",)),
        ("leeway_seconds", 61),
        ("leeway_seconds", -1),
    ],
)
def test_terms_on_which_nobody_should_be_trusted_are_refused_by_name(field: str, value: Any) -> None:
    terms: dict[str, Any] = {"issuer": "https://id.example", "audience": "chathub", "algorithms": ("ES256",)}
    with pytest.raises(InvalidTerms, match=field):
        TrustedIssuer(**{**terms, field: value})


def test_a_token_of_another_key_is_refused() -> None:
    with pytest.raises(Unauthenticated, match="kid"):
        check(OTHER.sign(claims()))
    with pytest.raises(Unauthenticated, match="signature"):
        check(jwt.encode(claims(), OTHER._key, "ES256", headers={"kid": KEY.key_id}))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", ""])
def test_an_unsigned_token_is_refused(algorithm: str) -> None:
    unsigned = f"{part({'alg': algorithm, 'typ': 'JWT', 'kid': KEY.key_id})}.{part(claims())}."
    for token in (unsigned, unsigned + "AA", unsigned[:-1]):
        with pytest.raises(Unauthenticated):
            check(token)


@pytest.mark.parametrize("secret", public_key_spellings())
def test_the_public_key_is_no_shared_secret(secret: bytes) -> None:
    with pytest.raises(Unauthenticated, match="alg"):
        check(with_secret(secret))


def test_the_issuer_decides_on_the_algorithm_not_the_token() -> None:
    token = jwt.encode(
        claims(), rsa.generate_private_key(public_exponent=65537, key_size=2048), "RS256", headers={"kid": KEY.key_id}
    )
    with pytest.raises(Unauthenticated, match="alg"):
        check(token)
    both = TrustedIssuer(TRUSTED.issuer, "chathub", ("ES256", "RS256", "EdDSA"))
    for algorithm in ("RS256", "EdDSA"):
        with pytest.raises(Unauthenticated, match="signature"):
            check(signed(claims(), alg=algorithm), both)


def test_keys_that_come_with_the_token_are_not_looked_at() -> None:
    mallory = {"jwk": OTHER.public_jwk, "jku": "https://evil.example/keys", "x5u": "https://evil.example/chain"}
    forged = jwt.encode(claims(), OTHER._key, "ES256", headers={"kid": KEY.key_id, **mallory})
    with pytest.raises(Unauthenticated, match="signature"):
        check(forged)
    assert check(signed(claims(), **mallory))


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["b64"], "b64": False},
        {"crit": []},
        {"crit": False},
        {"typ": "logout+jwt"},
        {"typ": "secevent+jwt"},
        {"typ": "dpop+jwt"},
        {"typ": "JOSE"},
        {"typ": 7},
        {"kid": None},
        {"kid": ""},
        {"kid": 7},
        {"kid": "k" * 257},
        {"alg": None},
        {"alg": ["ES256"]},
    ],
    ids=str,
)
def test_a_header_that_says_something_else_is_refused(header: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        check(signed(claims(), **header))


@pytest.mark.parametrize("kind", ["auth", "file"])
def test_pocketbase_s_own_tokens_are_refused(kind: str) -> None:
    told = {"collectionId": "_pb_users_auth_", "exp": int(NOW) + 120, "id": "ann4n5w3r70all5", "type": kind}
    with pytest.raises(Unauthenticated):
        check(jwt.encode(told, "k" * 50, "HS256"))
    with pytest.raises(Unauthenticated):
        check(jwt.encode({**claims(), **told}, "k" * 50, "HS256", headers={"kid": KEY.key_id}))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"iss": NaN}',
        b'{"iss": "\\ud800"}',
        b'\xef\xbb\xbf{"iss": "https://id.example"}',
        b'{"iss": "\xff"}',
        '{"iss": "https://id.example"}'.encode("utf-16"),
        b"[" * 5000,
        b'{"a":' * 1000 + b"1" + b"}" * 1000,
        json.dumps(claims(deep=json.loads("[" * 16 + "]" * 16))).encode(),
        json.dumps(claims()).encode().replace(b'"sub"', b'"sub": "eve", "sub"'),
        json.dumps(claims()).encode().replace(b'"admin"', b'"x"]}, "realm_access": {"roles": ["admin"'),
        b'{"exp": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_payload_that_two_parsers_could_read_differently_is_refused(payload: bytes) -> None:
    with pytest.raises(Unauthenticated):
        check(signed(payload))


@pytest.mark.parametrize("access", ["admin", ["admin"], {"roles": "admin"}, {"roles": [1, None]}, {}, 7], ids=str)
def test_roles_of_another_shape_grant_nothing(access: Any) -> None:
    identity = check(KEY.sign(claims(realm_access=access)))
    assert identity.roles == frozenset()
    with pytest.raises(Forbidden):
        require_role(identity, "admin")


@given(st.text(max_size=300))
def test_whatever_is_not_a_token_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(Unauthenticated):
        read_token(text)


GOOD = KEY.sign(claims())


@given(
    start=st.integers(0, len(GOOD)),
    length=st.integers(0, 8),
    put=st.text(st.sampled_from("AZaz09-_.=+/ \n\0é\ud800"), max_size=8),
)
def test_a_token_with_any_piece_exchanged_is_refused(start: int, length: int, put: str) -> None:
    changed = GOOD[:start] + put + GOOD[start + length :]
    if changed == GOOD:
        assert check(changed)
        return
    with pytest.raises(Unauthenticated):
        check(changed)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(
    ("iss", "aud", "sub", "exp", "nbf", "iat", "typ", "type", "azp", "sid", "realm_access", "events")
)


@given(st.dictionaries(NAMES, JSON, max_size=4), st.dictionaries(st.sampled_from(("alg", "kid", "typ", "crit")), JSON))
def test_claims_and_headers_of_any_shape_under_a_good_signature_never_break_anything(
    changes: dict[str, Any], header: dict[str, Any]
) -> None:
    try:
        identity = check(signed({**claims(), **changes}, **header))
    except Unauthenticated:
        return
    assert identity.issuer == TRUSTED.issuer
    assert all(isinstance(role, str) for role in identity.roles)


def test_an_overlong_token_is_refused_unread() -> None:
    with pytest.raises(Unauthenticated, match="too long"):
        read_token("a" * (MAX_TOKEN_BYTES + 1))


def test_the_key_id_is_the_thumbprint() -> None:
    assert read_token(KEY.sign(claims())).key_id == KEY.public_jwk["kid"] == KEY.key_id
    assert KEY.key_id != OTHER.key_id
    members = {name: KEY.public_jwk[name] for name in ("crv", "kty", "x", "y")}
    assert KEY.key_id == base64url(hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest())
