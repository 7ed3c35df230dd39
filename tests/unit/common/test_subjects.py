import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.core import subjects
from common.core.errors import InvalidRequest


def test_a_room_has_one_subject() -> None:
    assert subjects.room_in("12") == "chat.in.room.12"


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
