"""What others see of a name cannot pass for somebody else's by what cannot be seen."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.sessions.session_token import username_of


@pytest.mark.parametrize(
    "name", ["Server", " SERVER ", "ser\u200bver", "\u202eServer", "\u200b", " \n ", "ann@example.com"]
)
def test_a_name_that_is_reserved_empty_or_the_email_is_not_taken(name: str) -> None:
    assert username_of({"username": name, "email": "ann@example.com"}) is None


def test_the_next_name_is_taken_instead() -> None:
    assert username_of({"username": "\u200b", "name": "Ann  B.\n"}) == "Ann B."


@given(st.text(max_size=400))
def test_a_name_is_one_visible_line_of_bounded_length(text: str) -> None:
    name = username_of({"name": text})
    if name is not None:
        assert 0 < len(name) <= 256
        assert name == " ".join(name.split(" "))
        assert not any(unicodedata.category(character)[0] == "C" for character in name)
        assert not any(character.isspace() and character != " " for character in name)
