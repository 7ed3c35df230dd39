"""What a verified token says, and every way in which a token is refused."""

import base64
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from common.core.errors import Forbidden, Unauthenticated
from common.core.identity import require_role
from common.core.tokens import MAX_TOKEN_BYTES, SigningKey, TrustedIssuer, read_head, verify

KEY = SigningKey(b"\x01" * 32)
OTHER = SigningKey(b"\x02" * 32)
TRUSTED = TrustedIssuer("https://id.example", "chathub", ("ES256",), frozenset({"ChatClient"}))
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


def check(token: str, trusted: TrustedIssuer = TRUSTED, key: SigningKey = KEY) -> Any:
    return verify(token, jwt.PyJWK(key.public_jwk), trusted, NOW)


def test_a_good_token_tells_who_is_asking() -> None:
    identity = check(KEY.sign(claims()))
    assert (identity.subject, identity.username, identity.client_id) == ("user-1", "ann", "ChatClient")
    assert identity.roles == {"admin"}
    assert identity.session_id == "session-1"
    assert identity.expires_at == int(NOW) + 60


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"aud": "gateway"},
        {"aud": None},
        {"exp": None},
        {"exp": int(NOW) - 60},
        {"exp": "tomorrow"},
        {"exp": float(NOW) + 60.5},
        {"nbf": int(NOW) + 60},
        {"sub": None},
        {"typ": "ID"},
        {"typ": "Refresh"},
        {"azp": "Unknown"},
        {"azp": None},
    ],
    ids=str,
)
def test_a_token_with_a_wrong_claim_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        check(KEY.sign(claims(**changes)))


def test_clock_skew_is_forgiven_up_to_the_leeway() -> None:
    assert check(KEY.sign(claims(exp=int(NOW) - 4)))
    with pytest.raises(Unauthenticated, match="expired"):
        check(KEY.sign(claims(exp=int(NOW) - 5)))


def test_a_token_of_another_key_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        check(OTHER.sign(claims()))


def test_an_unsigned_token_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        check(jwt.encode(claims(), "", algorithm="none", headers={"kid": KEY.key_id}))


def test_the_public_key_is_no_shared_secret() -> None:
    parts = [json.dumps({"alg": "HS256", "kid": KEY.key_id}), json.dumps(claims())]
    head = ".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts)
    for secret in (KEY.public_jwk["x"].encode(), json.dumps(KEY.public_jwk).encode()):
        signature = hmac.digest(secret, head.encode(), "sha256")
        token = f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
        with pytest.raises(Unauthenticated):
            check(token)


def test_the_issuer_decides_on_the_algorithm_not_the_token() -> None:
    token = jwt.encode(claims(), rsa.generate_private_key(public_exponent=65537, key_size=2048), algorithm="RS256")
    with pytest.raises(Unauthenticated):
        check(token)


@pytest.mark.parametrize("access", ["admin", ["admin"], {"roles": "admin"}, {"roles": [1, None]}, {}, 7], ids=str)
def test_roles_of_another_shape_grant_nothing(access: Any) -> None:
    identity = check(KEY.sign(claims(realm_access=access)))
    assert identity.roles == frozenset()
    with pytest.raises(Forbidden):
        require_role(identity, "admin")


@given(st.text(max_size=300))
def test_whatever_is_not_a_token_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(Unauthenticated):
        read_head(text)


def test_an_overlong_token_is_refused_unread() -> None:
    with pytest.raises(Unauthenticated, match="too long"):
        read_head("a" * (MAX_TOKEN_BYTES + 1))


def test_the_key_id_is_the_thumbprint() -> None:
    assert read_head(KEY.sign(claims())).key_id == KEY.public_jwk["kid"] == KEY.key_id
    assert KEY.key_id != OTHER.key_id
