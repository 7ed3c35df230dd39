"""What is counted is never less than what is parsed."""

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.bodies.json_count import values_in

texts = st.text(st.sampled_from(',[]{}"\\\\ab:'), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=30,
)


def counted(value: Any) -> int:
    match value:
        case dict():
            return 1 + sum(map(counted, cast(dict[str, Any], value).values()))
        case list():
            return 1 + sum(map(counted, cast(list[Any], value)))
        case _:
            return 1


@given(values, st.integers(0, 100), st.sampled_from((None, 1)))
def test_no_value_is_left_out(value: Any, limit: int, indent: int | None) -> None:
    found = values_in(json.dumps(value, indent=indent).encode(), limit)
    assert found >= min(counted(value) - 1, limit + 1)


@given(st.lists(texts, max_size=20))
def test_signs_within_strings_do_not_count_once_it_matters(strings: list[str]) -> None:
    assert values_in(json.dumps(strings).encode(), len(strings)) <= max(len(strings), 1)


@pytest.mark.parametrize("text", [b"", b'"', b'"\\', b',"\\",', b'",,,,,,,', b"\xff,"])
def test_what_is_no_json_is_survived(text: bytes) -> None:
    assert values_in(text, 0) >= 0
