"""Devices, account changes, the operator key and what is shown of a session."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.core.errors import Forbidden, Unauthenticated
from common.core.messages import UnknownVersion, decode, encode
from common.core.notices import KINDS, SessionRevoked, UserBanned, UserPardoned, subject_of
from common.core.tokens import base64url
from gateway.core.collections.catalogue import Collection
from gateway.core.front_door.pocketbase_route import Route, find
from gateway.core.sessions.account_change import Doubtful, Ended, account_changes
from gateway.core.sessions.device import MAX_NAME_LENGTH, UNKNOWN, device_name
from gateway.core.sessions.operator_key import check_operator_key
from gateway.core.sessions.session import Owner, Session, shown

USERS = Collection("_pb_users_auth_", "users", "auth", is_system=False)
NOTES = Collection("notes_id", "notes", "base", is_system=False)
ANN = Owner(USERS.id, "ann")


def route(method: str, path: str) -> Route:
    found = find(method, path.encode())
    assert found
    return found


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36",
            "Chrome on Windows",
        ),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/126 Safari/537.36 Edg/126.0", "Edge on Windows"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0", "Firefox on Linux"),
        (
            "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/126 Mobile Safari/537.36",
            "Chrome on Android",
        ),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Version/17.5 Safari/604.1", "Safari on iPhone"),
        ("Dart/3.4 (dart:io)", "Dart/3.4 (dart:io)"),
        ("", UNKNOWN),
    ],
)
def test_a_device_goes_by_browser_and_system(user_agent: str, name: str) -> None:
    assert device_name([(b"user-agent", user_agent.encode())]) == name


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("Ann's téléphone".encode(), "Ann's téléphone"),
        ("Ann's téléphone".encode("latin-1"), "Ann's téléphone"),
        (b"kitchen\x00\r\n\xe2\x80\xae tablet", "kitchen tablet"),
        (b" \t ", "curl/8"),
    ],
)
def test_a_device_may_say_what_it_is_called(said: bytes, name: str) -> None:
    assert device_name([(b"user-agent", b"curl/8"), (b"x-device-name", said)]) == name


@given(st.binary(max_size=3000), st.binary(max_size=3000))
def test_a_device_s_name_is_one_short_visible_line(said: bytes, user_agent: bytes) -> None:
    name = device_name([(b"x-device-name", said), (b"user-agent", user_agent)])
    assert 0 < len(name) <= MAX_NAME_LENGTH
    assert name.isprintable()
    assert name.encode()


@pytest.mark.parametrize("name", ["password", "password:x"])
def test_another_password_ends_the_record_s_sessions(name: str) -> None:
    changes = account_changes("PATCH", route("PATCH", "/api/collections/users/records/ann"), USERS, {name: "new"})
    assert changes == [Ended(ANN, "credentials changed")]


@pytest.mark.parametrize("name", ["email", "tokenKey", "tokenKey:autogenerate", "+email"])
def test_what_may_end_tokens_is_asked_of_pocketbase(name: str) -> None:
    changes = account_changes("PATCH", route("PATCH", "/api/collections/users/records/ann"), USERS, {name: "new"})
    assert changes == [Doubtful(ANN)]


def test_other_changes_to_a_record_end_nothing() -> None:
    update = route("PATCH", "/api/collections/users/records/ann")
    assert account_changes("PATCH", update, USERS, {"name": "Ann", "passwordConfirm": ""}) == []
    assert account_changes("GET", route("GET", "/api/collections/users/records/ann"), USERS, {}) == []


def test_a_record_that_is_gone_has_no_sessions() -> None:
    deletion = route("DELETE", "/api/collections/users/records/ann")
    assert account_changes("DELETE", deletion, USERS, {}) == [Ended(ANN, "record deleted")]
    assert account_changes("DELETE", deletion, NOTES, {}) == []


def reset_token(claims: bytes) -> str:
    return f"h.{base64url(claims)}.s"


@pytest.mark.parametrize("action", ["confirm-password-reset", "confirm-email-change"])
def test_a_confirmation_is_about_the_record_that_its_token_names(action: str) -> None:
    confirmation = route("POST", f"/api/collections/users/{action}")
    token = reset_token(b'{"id":"ann","collectionId":"_pb_users_auth_"}')
    assert account_changes("POST", confirmation, USERS, {"token": token}) == [Doubtful(ANN)]
    elsewhere = reset_token(b'{"id":"ann","collectionId":"devices"}')
    for other in (
        elsewhere,
        "nonsense",
        "a.b.c",
        7,
        reset_token(b"[]"),
        reset_token(b'{"collectionId":"_pb_users_auth_"}'),
    ):
        assert account_changes("POST", confirmation, USERS, {"token": other}) == []
    assert account_changes("POST", confirmation, USERS, {}) == []


def test_a_sign_in_changes_no_account() -> None:
    assert account_changes("POST", route("POST", "/api/collections/users/auth-with-password"), USERS, {}) == []


KEY = "a key of some length"


def test_the_operator_key_opens_and_nothing_else_does() -> None:
    check_operator_key(KEY, KEY)
    for given_key in (None, "", "a", KEY[:-1], KEY + "x", KEY.upper(), "\udcff" * 20):
        with pytest.raises(Unauthenticated):
            check_operator_key(KEY, given_key)


@pytest.mark.parametrize("key", [None, ""])
@pytest.mark.parametrize("given_key", [None, "", "None", "undefined", KEY])
def test_without_a_key_nobody_is_an_operator(key: str | None, given_key: str | None) -> None:
    with pytest.raises(Forbidden):
        check_operator_key(key, given_key)


def test_dates_are_written_as_pocketbase_writes_them() -> None:
    session = Session("s", ANN, "Firefox", "203.0.113.7", 1_700_000_000_005, 1_700_000_060_120, 1_700_432_000_000)
    assert shown(session) == {
        "id": "s",
        "device": "Firefox",
        "address": "203.0.113.7",
        "created": "2023-11-14 22:13:20.005Z",
        "lastUsed": "2023-11-14 22:14:20.120Z",
        "expires": "2023-11-19 22:13:20.000Z",
    }


def test_every_notice_has_a_subject_and_an_unknown_version_is_refused() -> None:
    notices = (SessionRevoked(session_id="s"), UserBanned(subject="ann"), UserPardoned(subject="ann"))
    for notice in notices:
        assert decode(KINDS[subject_of(notice)], encode(notice)) == notice
    with pytest.raises(UnknownVersion):
        decode(UserBanned, b'{"v":2,"subject":"ann"}')
