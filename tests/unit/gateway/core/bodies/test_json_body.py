import json
import math
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.bodies.json_body import MAX_DEPTH, as_list, is_object, parsed, parsed_object, written
from gateway.core.body_refusals import MalformedBody

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)


def as_floats(value: Any) -> Any:
    """What Go makes of it: every number a float of 64 bits."""
    if is_object(value):
        return {name: as_floats(item) for name, item in value.items()}
    if isinstance(value, list):
        return [as_floats(item) for item in as_list(cast(object, value))]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@given(documents, st.booleans())
def test_what_is_written_means_what_was_read(document: object, ascii_only: bool) -> None:
    try:
        spelt = json.dumps(document, ensure_ascii=ascii_only).encode()
        expected = as_floats(json.loads(spelt))
    except (OverflowError, UnicodeEncodeError):
        return
    assert as_floats(json.loads(written(parsed(spelt)))) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b'{"a":1}{"a":2}',
        b'{"a":1},',
        b'{"a":1}x',
        b'{"a":1}\0',
        b'{"a":1,"a":2}',
        b'{"a":1,"\\u0061":2}',
        b'{"x":{"a":1,"a":1}}',
        b'[{"a":1,"a":1}]',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e400}',
        b'{"a":-1e400}',
        b'{"a":' + b"9" * 400 + b"}",
        b'{"a":01}',
        b'{"a":1.}',
        b'{"a":+1}',
        b'{"a":0x1}',
        b"{'a':1}",
        b'{"a":1,}',
        b"{a:1}",
        b'{"a":1}//',
        b'/**/{"a":1}',
        b'{"a":"\t"}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00\\ud800"}',
        b'{"\\ud800":1}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":"\\x41"}',
        b"\xc2\xa0{}",
        b"[" * 5000 + b"]" * 5000,
        b"[" * 200_000,
        b'{"a":' * 3000 + b"1" + b"}" * 3000,
    ],
)
def test_whatever_two_parsers_could_read_differently_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        parsed(body)


def test_depth_is_bounded() -> None:
    assert parsed(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(MalformedBody):
        parsed(b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2))


def test_space_around_the_value_is_none_of_ours() -> None:
    assert parsed(b' \r\n\t{"a":1} \n') == {"a": 1}


def test_escapes_end_up_as_what_they_stand_for() -> None:
    assert written(parsed(rb'{"\u0061":"\u00e9\/\ud83d\ude00"}')) == '{"a":"é/😀"}'.encode()


@pytest.mark.parametrize(
    ("spelt", "value"),
    [
        (b"9007199254740992", 2**53),
        (b"9007199254740993", 9007199254740992.0),
        (b"12345678901234567890", 12345678901234567000.0),
        (b"1.0", 1.0),
        (b"1e2", 100.0),
    ],
)
def test_numbers_are_what_a_float_of_64_bits_holds(spelt: bytes, value: float) -> None:
    assert parsed(spelt) == value


def test_negative_zero_stays_negative() -> None:
    assert math.copysign(1, parsed(b"-0")) == -1
    assert written(parsed(b"-0")) == b"-0.0"


def test_null_counts_as_an_empty_object_and_other_values_as_none() -> None:
    assert parsed_object(b"null") == {}
    for body in (b"[]", b'"a"', b"1", b"true"):
        with pytest.raises(MalformedBody):
            parsed_object(body)


def test_null_counts_as_an_empty_list() -> None:
    assert as_list(None) == []
    assert as_list([1]) == [1]
    with pytest.raises(MalformedBody):
        as_list({})
