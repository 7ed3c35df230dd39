import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsync.core.claims.keys import SERVER_PREFIX, KeyKind, KeyPair, spell
from natsync.core.claims.token_codec import base64url, part
from natsync.core.servers.callout import AUDIENCE, BadRequest, read_login

NOW = int(time.time())
ACCOUNT = KeyPair(KeyKind.ACCOUNT, b"\1" * 32)
USER = KeyPair(KeyKind.USER, b"\2" * 32)
SIGNER = KeyPair(KeyKind.USER, b"\3" * 32)


class Server:
    """nats-server's own key, which nothing in natsync may have."""

    id = spell(bytes([SERVER_PREFIX]) + SIGNER._public)

    @staticmethod
    def request(**changed: Any) -> str:
        body = {
            "server_id": {"name": "n1", "id": Server.id, "host": "127.0.0.1", "xkey": "XKEY"},
            "user_nkey": USER.public_key,
            "client_info": {"host": "10.0.0.7", "id": 7, "type": "websocket", "kind": "Client"},
            "connect_opts": {"auth_token": "the token", "protocol": 1},
            "type": "authorization_request",
            "version": 2,
            **changed.pop("nats", {}),
        }
        claims = {"aud": AUDIENCE, "exp": NOW + 2, "iat": NOW, "iss": Server.id, "sub": ACCOUNT.public_key, **changed}
        signed = f"{part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{part({**claims, 'nats': body})}"
        return f"{signed}.{base64url(SIGNER.sign(signed.encode()))}"


def login(**changed: Any) -> Any:
    return read_login(Server.request(**changed), account=ACCOUNT.public_key, now=NOW)


def test_a_request_tells_who_connects_where_and_with_which_token() -> None:
    seen = login()
    assert (seen.server, seen.connection, seen.user_key) == (Server.id, 7, USER.public_key)
    assert (seen.host, seen.kind, seen.token, seen.wanted) == ("10.0.0.7", "websocket", "the token", "")
    assert (seen.answer_by, seen.server_curve_key) == (NOW + 2, "XKEY")


def test_a_token_may_stand_in_the_place_of_a_password_beside_the_name_of_the_user_that_is_wanted() -> None:
    seen = login(nats={"connect_opts": {"user": "sensor", "pass": "the token"}})
    assert (seen.wanted, seen.token) == ("sensor", "the token")


def test_the_token_is_not_shown() -> None:
    assert "the token" not in repr(login())


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "somebody else"},
        {"sub": KeyPair(KeyKind.ACCOUNT, b"\4" * 32).public_key},
        {"exp": NOW - 1},
        {"iss": SIGNER.public_key},
        {"nats": {"server_id": {"id": spell(bytes([SERVER_PREFIX]) + b"\5" * 32)}}},
        {"nats": {"server_id": "none"}},
        {"nats": {"user_nkey": ACCOUNT.public_key}},
        {"nats": {"client_info": None}},
        {"nats": {"connect_opts": []}},
        {"nats": {"type": "authorization_response"}},
        {"nats": {"version": 1}},
    ],
)
def test_what_no_server_of_ours_would_ask_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        login(**changed)


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_no_text_is_taken_for_a_request(text: str) -> None:
    with pytest.raises(BadRequest):
        read_login(text, account=ACCOUNT.public_key, now=NOW)


@given(st.integers(min_value=0), st.sampled_from("Aa0-_."))
def test_an_altered_request_is_refused(where: int, character: str) -> None:
    request = Server.request()
    where %= len(request) - 2  # the last character of base64url has bits that count for nothing
    altered = request[:where] + character + request[where + 1 :]
    if altered != request:
        with pytest.raises(BadRequest):
            read_login(altered, account=ACCOUNT.public_key, now=NOW)


def test_a_request_longer_than_any_is_not_read() -> None:
    with pytest.raises(BadRequest, match="longer"):
        read_login("x" * 100_000, account=ACCOUNT.public_key, now=NOW)
