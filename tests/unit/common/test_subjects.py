import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.core import subjects
from common.core.errors import InvalidRequest


def test_a_room_has_one_subject() -> None:
    assert subjects.room_in("12") == "chat.in.room.12"


def test_what_becomes_of_a_message_is_found_below_where_it_was_said() -> None:
    said_in = subjects.room_in("12")
    assert subjects.change_in(said_in, "7-1") == "chat.in.room.12.7-1"
    assert subjects.changes_in(said_in) == "chat.in.room.12.*"
    with pytest.raises(InvalidRequest):
        subjects.change_in(said_in, "7.1")


@given(st.text(max_size=80))
def test_data_never_changes_the_shape_of_a_subject(value: str) -> None:
    try:
        subject = subjects.room_in(value)
    except InvalidRequest:
        return
    assert subject.split(".") == ["chat", "in", "room", value]
    assert not set(value) & set("*> \t\r\n")


@pytest.mark.parametrize("value", ["", "a.b", "*", ">", "a b", "a\n", "ü", "x" * 65])
def test_what_is_not_one_plain_token_is_refused(value: str) -> None:
    with pytest.raises(InvalidRequest):
        subjects.token(value)


def test_a_streams_api_names_no_other_stream() -> None:
    granted = subjects.stream_api("CHAT")
    assert all(subject == "$JS.API.INFO" or ".CHAT" in subject for subject in granted)


@given(st.text(max_size=80))
def test_only_a_plain_subject_can_be_published_to(value: str) -> None:
    try:
        subject = subjects.exact(value)
    except InvalidRequest:
        return
    assert not set(subject) & set("*> \t\r\n\x00")
    assert all(subject.split("."))
    assert subjects.pattern(subject) == subject


@pytest.mark.parametrize("value", ["*", ">", "a.*", "a.*.b", "a.>", "*.*", "*.>"])
def test_wildcards_are_listened_to_and_not_published_to(value: str) -> None:
    assert subjects.pattern(value) == value
    with pytest.raises(InvalidRequest):
        subjects.exact(value)


@pytest.mark.parametrize(
    "value", ["", ".", "a.", ".a", "a..b", "a>", "a.>.b", "a*", "a b", "a\n", "a" * 1025, "\ud800"]
)
def test_what_is_no_subject_is_not_listened_to(value: str) -> None:
    with pytest.raises(InvalidRequest):
        subjects.pattern(value)


@given(st.text(max_size=80), st.text(max_size=80))
def test_a_key_never_leaves_its_bucket(bucket: str, key: str) -> None:
    try:
        subject = subjects.bucket_key(bucket, key)
    except InvalidRequest:
        return
    assert subject == f"$KV.{bucket}.{key}"
    assert "." not in bucket
    assert subjects.exact(subject) == subject


@pytest.mark.parametrize("key", ["", ".", "a.", "a..b", "a.*", ">", "a b", "a" * 65, ".".join("a" * 9), "a\n"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidRequest):
        subjects.bucket_key("b", key)


def test_a_buckets_api_names_no_other_bucket() -> None:
    granted = subjects.bucket_api("leases")
    assert "$KV.leases.>" in granted
    assert all(subject == "$JS.API.INFO" or "leases" in subject for subject in granted)


@pytest.mark.parametrize(
    "request_to",
    [
        subjects.stream_request("CREATE", "KV_leases"),
        subjects.stream_request("INFO", "KV_leases"),
        subjects.consumer_request("CREATE", "KV_leases", "c"),
        subjects.consumer_request("DELETE", "KV_leases", "c"),
        subjects.consumer_next("KV_leases", "c"),
        subjects.last_message("KV_leases", "$KV.leases.x"),
        subjects.bucket_key("leases", "x"),
    ],
)
def test_a_buckets_api_covers_what_is_asked_of_it(request_to: str) -> None:
    assert any(covers(granted, request_to) for granted in subjects.bucket_api("leases"))


def covers(pattern: str, subject: str) -> bool:
    wanted, given_ = pattern.split("."), subject.split(".")
    for number, token in enumerate(wanted):
        if token == ">":
            return len(given_) > number
        if number >= len(given_) or token not in ("*", given_[number]):
            return False
    return len(wanted) == len(given_)
