import base64
import hashlib
import json

import pytest

from natsync.core import claims, token_codec
from natsync.core.claims import (
    AccountClaims,
    AccountLimits,
    BadToken,
    Permissions,
    ResponsePermission,
    UserClaims,
    UserLimits,
)
from natsync.core.keys import KeyKind, KeyPair

OPERATOR = KeyPair(KeyKind.OPERATOR, b"\x01" * 32)
ACCOUNT = KeyPair(KeyKind.ACCOUNT, b"\x02" * 32)
USER = KeyPair(KeyKind.USER, b"\x03" * 32)


def account_token(issued_at: int = 1_700_000_000) -> str:
    body = claims.account_body(AccountClaims(signing_keys=["AB"], revocations={"UB": 2, "UA": 1}))
    return claims.encode(body, subject=ACCOUNT.public_key, name="a<b>&c", issuer=OPERATOR, issued_at=issued_at)


def test_the_token_id_is_the_hash_that_the_go_library_takes() -> None:
    """Written out by hand: standard claims in Go's order, Go's escapes, SHA-512/256, base32 without padding."""
    hashed = (
        '{"iat":1700000000,"iss":"' + OPERATOR.public_key + '","name":"a\\u003cb\\u003e\\u0026c",'
        '"sub":"' + ACCOUNT.public_key + '"}'
    )
    digest = hashlib.new("sha512_256", hashed.encode()).digest()
    assert claims.read(account_token())["jti"] == base64.b32encode(digest).decode().rstrip("=")


def test_a_token_has_the_header_of_version_two_and_no_padding() -> None:
    header, payload, signature = account_token().split(".")
    assert base64.urlsafe_b64decode(header + "==") == b'{"typ":"JWT","alg":"ed25519-nkey"}'
    assert "=" not in header + payload + signature


def test_every_account_limit_is_written() -> None:
    limits = AccountLimits(connections=1, subscriptions=2, data=3, payload=4, disk_storage=5, memory_storage=6)
    body = claims.account_body(AccountClaims(limits=limits))
    assert body["limits"] == {
        "conn": 1,
        "subs": 2,
        "data": 3,
        "payload": 4,
        "disk_storage": 5,
        "mem_storage": 6,
        "leaf": -1,
        "imports": -1,
        "exports": -1,
        "wildcards": True,
        "streams": -1,
        "consumer": -1,
        "max_ack_pending": -1,
        "mem_max_stream_bytes": -1,
        "disk_max_stream_bytes": -1,
    }
    assert "revocations" not in body


def test_a_users_token_names_its_account_and_all_its_limits() -> None:
    permissions = Permissions(("a",), ("b",), response=ResponsePermission(1, 10))
    body = claims.user_body(UserClaims(permissions, UserLimits(subscriptions=0)), account="A")
    assert body["issuer_account"] == "A"
    assert (body["subs"], body["data"], body["payload"]) == (0, -1, -1)
    assert (body["pub"], body["sub"]) == ({"allow": ["a"]}, {"allow": ["b"]})
    assert body["resp"] == {"max": 1, "ttl": 10_000_000_000}
    assert "resp" not in claims.user_body(UserClaims(), account="A")


def test_only_the_key_above_signs() -> None:
    body = claims.user_body(UserClaims(), account="A")
    with pytest.raises(BadToken):
        claims.encode(body, subject=USER.public_key, name="u", issuer=OPERATOR, issued_at=1)
    with pytest.raises(BadToken):
        claims.encode({"type": "account"}, subject="A", name="a", issuer=ACCOUNT, issued_at=1)
    request = claims.encode(
        claims.deletion_body(["A"]), subject=OPERATOR.public_key, name="n", issuer=OPERATOR, issued_at=1
    )
    assert claims.read(request)["nats"]["accounts"] == ["A"]


def test_an_altered_token_is_not_believed() -> None:
    header, payload, signature = account_token().split(".")
    other = token_codec.part({**json.loads(token_codec.unbase64url(payload)), "sub": "A"})
    for token in (f"{header}.{other}.{signature}", f"{header}.{payload}.AAAA", f"{header}.{payload}", "", "a.b.c"):
        with pytest.raises(BadToken):
            claims.read(token)
    with pytest.raises(BadToken):
        claims.read(f"{token_codec.part({'typ': 'JWT', 'alg': 'none'})}.{payload}.{signature}")


def test_content_does_not_depend_on_time_or_order() -> None:
    one = claims.content_hash(name="n", issuer="i", body={"a": 1, "b": 2})
    assert one == claims.content_hash(name="n", issuer="i", body={"b": 2, "a": 1})
    assert (
        len({one, *(claims.content_hash(name=n, issuer=i, body={}) for n, i in (("n", "i"), ("m", "i"), ("n", "j")))})
        == 4
    )
