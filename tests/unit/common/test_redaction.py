"""No secret is logged, wherever it stands; what is no secret stays as it is; no text takes long."""

import base64
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import quote

import nkeys  # pyright: ignore[reportMissingTypeStubs] - it has none
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import assume, given
from hypothesis import strategies as st

from common.core.redaction import (
    CUT,
    HEAD_CHARACTERS,
    MAX_CHARACTERS,
    MAX_VALUES,
    REDACTED,
    TAIL_CHARACTERS,
    is_secret_name,
    redact,
    redact_event,
    redact_text,
)
from common.core.tokens import SigningKey

KEY = SigningKey(b"\x01" * 32)
WINDOW = 12
"""So many characters of a secret in a row are too many."""


def pem_of(number: int, style: serialization.PrivateFormat) -> str:
    key = ec.derive_private_key(number, ec.SECP256R1())
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, style, plain).decode()


def seed_of(data: bytes, prefix: int) -> str:
    return nkeys.encode_seed(data, prefix).decode()


JWTS = st.text(max_size=30).map(lambda text: KEY.sign({"sub": "ann", "text": text}))
SEEDS = st.builds(
    seed_of,
    st.binary(min_size=32, max_size=32),
    st.sampled_from((nkeys.PREFIX_BYTE_USER, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_OPERATOR)),
)
PKCS8 = serialization.PrivateFormat.PKCS8
STYLES = st.sampled_from((PKCS8, serialization.PrivateFormat.TraditionalOpenSSL))
PEMS = st.builds(pem_of, st.integers(1, 2**200), STYLES)
CREDS = st.builds(
    "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n"
    "-----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n".format,
    JWTS,
    SEEDS,
)
SHAPED = JWTS | SEEDS | PEMS | CREDS
"""Known by their shape, whatever stands around them."""

PLAIN = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!$%()*+,-./:;=?@^_|~#", min_size=12)
PASSWORDS = PLAIN.filter(lambda text: text[0] not in "[{(")
WORDS = ("password", "secret", "token", "access_token", "refreshToken", "api_key", "X-Api-Key", "client_secret", "seed")
NAMES = st.sampled_from((*WORDS, "passwordConfirm", "NATS_CREDS", "GATEWAY_SIGNING_KEY", "private_key", "apiKey"))
AROUND = st.text(max_size=40)


def mixed_case(text: str) -> st.SearchStrategy[str]:
    return st.lists(st.booleans(), min_size=len(text), max_size=len(text)).map(
        lambda upper: "".join(c.upper() if up else c.lower() for c, up in zip(text, upper, strict=True))
    )


def essence(secret: str) -> list[str]:
    """The parts that are secret: not the dashes and labels of a PEM block."""
    return [line for line in secret.splitlines() if len(line) >= WINDOW and not line.startswith("--")]


def survives(secret: str, shown: str) -> bool:
    return any(part[at : at + WINDOW] in shown for part in essence(secret) for at in range(len(part) - WINDOW + 1))


@given(before=AROUND, secret=SHAPED, after=AROUND)
def test_what_is_known_by_its_shape_is_taken_out_of_any_text(before: str, secret: str, after: str) -> None:
    assert not survives(secret, redact_text(before + secret + after))
    assert not survives(secret, redact_text(json.dumps({"said": before + secret})))
    assert not survives(secret, redact_text(repr(f"{secret}{after}")))


SPELLINGS: list[Callable[[str, str], str]] = [
    "{}={}".format,
    "{}: {}".format,
    "{} = {} next".format,
    "?x=1&{}={}&y=2".format,
    "{} => {}".format,
    lambda name, value: json.dumps({name: value, "x": 1}),
    lambda name, value: json.dumps({"body": json.dumps({name: value})}),
    lambda name, value: repr({name: value}),
    lambda name, value: repr({name.encode(): value.encode()}),
    lambda name, value: repr([(name.encode(), value.encode())]),
    lambda name, value: f"Settings({name}={value!r}, port=1)",
    lambda name, value: f"{name.upper()}='{value}' python -m service",
]


@given(
    NAMES.flatmap(mixed_case), PASSWORDS, st.sampled_from(SPELLINGS), AROUND.map(lambda text: text.replace("\\", ""))
)
def test_a_value_is_taken_out_by_its_name_however_it_is_written(
    name: str, password: str, spelled: Callable[[str, str], str], before: str
) -> None:
    password = password.replace("&", "")
    assume(password not in before)
    shown = redact_text(f"{before} {spelled(name, password)}")
    assert password not in shown


@given(st.text(st.characters(codec="utf-8"), min_size=6), NAMES)
def test_a_quoted_value_may_hold_anything(password: str, name: str) -> None:
    marked = f"pw-{password}-end"
    for written in (json.dumps({name: marked}), repr({name: marked})):
        shown = redact_text(written)
        assert "-end" not in shown
        assert "pw-" not in shown


@given(PASSWORDS, st.sampled_from(("Bearer", "bearer", "BEARER")), st.sampled_from(("Authorization", "authorization")))
def test_authorization_and_cookies_are_taken_out_to_the_end_of_the_line(secret: str, scheme: str, name: str) -> None:
    assert secret not in redact_text(f"{name}: {scheme} {secret}\r\nHost: here")
    assert redact_text(f"{name}: {scheme} {secret}\r\nHost: here").endswith("Host: here")
    assert secret not in redact_text(f"Cookie: theme=dark; session={secret}; lang=en")
    assert secret not in redact_text(f"set-cookie: pb_auth={secret}; Path=/; HttpOnly")


@given(st.binary(min_size=12, max_size=40), AROUND)
def test_credentials_of_a_scheme_are_taken_out_without_the_header(data: bytes, before: str) -> None:
    opaque = base64.urlsafe_b64encode(data + b"\xff\xfe").decode()
    assert opaque not in redact_text(f"{before} Bearer {opaque}, they said")
    basic = base64.b64encode(b"ann:" + data).decode()
    assert basic not in redact_text(f"{before} Basic {basic}")


@given(st.text("abcXYZ019!$%'()*+,-.;=_~@:", min_size=10), st.sampled_from(("redis", "postgresql", "nats", "https")))
def test_a_url_loses_its_user_and_password_and_keeps_the_rest(password: str, scheme: str) -> None:
    shown = redact_text(f"cannot reach {scheme}://ann:{password}@host:5432/db?x=1 now")
    assert shown == f"cannot reach {scheme}://{REDACTED}@host:5432/db?x=1 now"
    assert redact_text(f"{scheme}://{quote(password, safe='')}@host") == f"{scheme}://{REDACTED}@host"


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text("abcxyz", max_size=5), inner, max_size=3)
    )


@given(data=st.data(), secret=SHAPED, as_bytes=st.booleans())
def test_secrets_are_taken_out_at_any_depth(data: st.DataObject, secret: str, as_bytes: bool) -> None:
    leaf = st.just(f"here: {secret}.".encode() if as_bytes else f"here: {secret}.")
    nested = st.recursive(leaf, containers, max_leaves=8)
    event: dict[Any, Any] = {"nested": data.draw(nested), f"key {secret}": 1, secret.encode(): 2}
    assert not survives(secret, json.dumps(redact_event(event)))


@given(NAMES.flatmap(mixed_case), st.text(min_size=1) | st.integers() | st.binary(min_size=1) | st.lists(st.text()))
def test_named_values_are_taken_out_whatever_they_are(name: str, value: Any) -> None:
    assert redact_event({"deep": [{name: value}]}) == {"deep": [{name: REDACTED}]}
    assert redact_event({"headers": [(name, value), (name.encode(), value)]}) == {
        "headers": [[name, REDACTED], [name, REDACTED]]
    }


@dataclass
class Login:
    user: str
    password: str


def test_objects_and_exceptions_are_shown_without_their_secrets() -> None:
    login = Login("ann", "hunter2 and more")
    shown = json.dumps(
        redact_event({"login": login, "error": ValueError(f"refused: {login}"), "queue": deque([login])})
    )
    assert "hunter2" not in shown
    assert "ann" in shown


ORDINARY = [
    "GET /api/collections/notes/records?page=1&perPage=30 answered 200 in 3.2 ms",
    "the token is malformed",
    "The token has expired (exp).",
    "The token's issuer does not answer.",
    "the bearer of a basic right",
    "Bearer authentication required",
    "Basic understanding of NATS",
    "token_type: Bearer",
    "nats connection lost: reconnecting to nats://127.0.0.1:4222",
    "see http://host:8080/a and mail ann@example.com",
    "listening on http://127.0.0.1:8103 (Press CTRL+C to quit)",
    "account ADU5BNEJ5QQ3TSLLOZMMJBFL4QDB5J7MGNK5OF43SDNHOYQJVQVGYHFE is in step",
    "user UAFHG6FUD2UU4SDFVAFUL5LDFO2XM4WYM76UNXTPJYJK7EEMYRBHT2VE connected",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----",
    "cache key notes:list:7 hit; 3 keys bumped",
    "passing 5 of 7 checks; compass: north",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "request_id=abcdef0123456789 trace_id=0af7651916cd43dd8448eb211c80319c",
    "日本語のログ行です",
    "",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redact_text(text) == text


@given(st.lists(st.text("bcdfghjlmnqrtvwxyz .,:;=/-_'\"{}[]()0123456789\n", max_size=30), max_size=5))
def test_text_without_anything_like_a_secret_is_left_alone(words: list[str]) -> None:
    text = " ".join(words)
    assert redact_text(text) == text


@given(st.text(max_size=200) | SHAPED | st.builds("{}: {}".format, NAMES, PASSWORDS))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact_text(text)
    assert redact_text(once) == once


def test_values_that_are_no_secrets_stay_as_they_are() -> None:
    event = {"path": "/channels", "status": 200, "names": ["a", "b"], "token": None, "password": True, "seconds": 1.5}
    assert redact_event(event) == event
    assert redact_event({"secret": ""}) == {"secret": ""}


@pytest.mark.parametrize("name", ["token_type", "token_url", "tokenEndpoint", "seed_count", "passwords_length", "key"])
def test_names_that_only_sound_secret_are_no_secret_s(name: str) -> None:
    assert not is_secret_name(name)


N = 1_000_000
HOSTILE = {
    "letters": "a" * N,
    "token heads": "eyJ" * (N // 3),
    "short tokens": "eyJaaaaaaaaaaaaaaa." * (N // 19),
    "seed heads": "SA" * (N // 2),
    "short seeds": ("S" + "A" * 39 + " ") * (N // 41),
    "schemes": "://" * (N // 3),
    "users": "://" + "a:" * (N // 2),
    "open quotes": "token='" * (N // 7),
    "names": "token" * (N // 5),
    "names without values": ("password" + "a" * 41) * (N // 49),
    "assignments": "secret=" * (N // 7),
    "spaces": "token" + " " * N,
    "backslashes": 'token="' + "\\" * N,
    "escaped quotes": 'password:\\\\\\\\"' * (N // 14),
    "blocks": "-----BEGIN PRIVATE KEY-----" * (N // 27),
    "block heads": "-----BEGIN " * (N // 11),
    "dashes": "-" * N,
    "headers": "authorization    " * (N // 17),
    "header lines": "cookie:" * (N // 7),
    "bearers": "bearer " * (N // 7),
    "prose": "The quick brown fox jumps over the lazy dog. " * (N // 45),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_megabyte_of_anything_takes_time_in_proportion(text: str) -> None:
    """A tenth of it is timed beside the whole: what takes time by the square takes a hundred times as long."""

    def seconds(given: str) -> float:
        begun = time.thread_time()
        redact_text(given)
        return time.thread_time() - begun

    small = min(seconds(text[: N // 10]) for _ in range(2))
    assert any(seconds(text) < 30 * max(small, 0.002) for _ in range(3))


def test_a_long_text_keeps_its_ends_and_no_secret_at_the_cuts() -> None:
    secrets = [
        KEY.sign({"sub": "ann", "text": "x" * 3000}),
        seed_of(b"7" * 32, nkeys.PREFIX_BYTE_USER),
        pem_of(7, PKCS8),
    ]
    ended = 0
    for length in range(0, 40_000, 331):
        text = "".join(f"{'a' * 100} {secrets[at % 3]} {'z' * (length % 100)} " for at in range(length // 400))
        shown = redact("text", f"{text} the end")
        assert not any(survives(secret, shown) for secret in secrets)
        assert len(shown) <= HEAD_CHARACTERS + TAIL_CHARACTERS + len(CUT)
        ended += shown.endswith("the end")
    assert ended == len(range(0, 40_000, 331))


def loop() -> list[Any]:
    itself: list[Any] = [1, "two"]
    itself.extend([itself] * 50)
    return itself


class Hostile:
    def __repr__(self) -> NoReturn:
        raise RuntimeError("no")

    def __str__(self) -> NoReturn:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "value",
    [
        loop(),
        {"a": loop(), **{str(number): number for number in range(10_000)}},
        ["x" * 5000] * 1000,
        [[[[[[[[[[[["deep"]]]]]]]]]]]],
        "x" * 10_000_000,
        b"\xff" * 1_000_000,
        10**10_000,
        float("nan"),
        float("inf"),
        Hostile(),
        {Hostile(): Hostile()},
        {1: 2, None: 3, b"token": b"secret", (1, 2): object()},
        memoryview(b"abc"),
        "\ud800",
        {"\ud800": 1},
        {1, 2},
        (item for item in "abc"),
        Exception,
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_is_logged_becomes_one_bounded_line(value: Any) -> None:
    event = redact_event({"event": "x", "value": value})
    line = json.dumps(event)
    assert len(line) < 7 * MAX_CHARACTERS + 20 * MAX_VALUES


LEAVES = st.none() | st.floats() | st.binary(max_size=9) | st.text(max_size=9) | st.integers()


@given(st.dictionaries(st.text(max_size=5), st.recursive(LEAVES, containers, max_leaves=8)))
def test_no_event_breaks_anything(event: dict[str, Any]) -> None:
    json.dumps(redact_event(event))
