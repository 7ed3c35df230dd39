import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.bodies.form_values import MAX_PAIRS, PAYLOAD, fields_of, inferred, pairs_of, without_exponent
from gateway.core.body_refusals import MalformedBody

NO_NUMBERS = ["", "True", "TRUE", "null", "01", "1.0", "1.", ".5", "-.5", "-", "--1", "1-2", "1.2.3", "1e5", "+1", " 1"]
NEITHER = [
    "1 ",
    "1\n",
    "Infinity",
    "NaN",
    "0x10",
    "1_000",
    "-00",
    "...",
    "hello",
    "9007199254740993",
    "9" * 320,
    "9" * 401,
]


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("true", True),
        ("false", False),
        ("5", 5),
        ("-5", -5),
        ("1.5", 1.5),
        ("-0.25", -0.25),
        ("9007199254740992", 2**53),
        ("123456789012345680000", 123456789012345680000.0),
        ("0.0000001", 1e-7),
    ],
)
def test_a_value_that_is_how_go_writes_it_is_inferred(raw: str, value: Any) -> None:
    assert inferred(raw) == value
    assert type(inferred(raw)) is type(value)


@pytest.mark.parametrize("raw", [*NO_NUMBERS, *NEITHER, "٣"])
def test_anything_else_stays_text(raw: str) -> None:
    assert inferred(raw) == raw


def test_negative_zero_is_inferred_as_such() -> None:
    assert math.copysign(1, float(inferred("-0"))) == -1


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_whatever_go_writes_is_inferred_to_be_that_number(number: float) -> None:
    assert inferred(without_exponent(number)) == number


def test_infinity_has_no_decimal() -> None:
    assert without_exponent(math.inf) == ""


def test_a_form_is_read_as_go_reads_it() -> None:
    assert pairs_of(b"title=a+b%2Bc&&n=1&empty=&bare&=x&title=%C3%A9") == [
        ("title", "a b+c"),
        ("n", "1"),
        ("empty", ""),
        ("bare", ""),
        ("", "x"),
        ("title", "é"),
    ]


@pytest.mark.parametrize(
    "form", [b"a=1;b=2", b"a=%zz", b"a=%", b"a=%1", b"a=\xff", b"a=%ff", b"%ff=a", b"a&" * (MAX_PAIRS + 1)]
)
def test_a_form_that_go_and_python_could_read_differently_is_refused(form: bytes) -> None:
    with pytest.raises(MalformedBody):
        pairs_of(form)


def test_repeated_names_become_lists_and_modifiers_keep_their_names() -> None:
    pairs = [("s", "a"), ("s", "2"), ("s+", "b"), ("+s", "c"), ("n-", "3")]
    assert fields_of(pairs) == {"s": ["a", 2], "s+": "b", "+s": "c", "n-": 3}


def test_the_payload_lies_over_the_fields() -> None:
    pairs = [
        (PAYLOAD, '{"a":"x","n":1,"j":{"k":[1]}}'),
        ("a", "y"),
        ("n", "2"),
        ("b", "true"),
        (PAYLOAD, '{"b":null,"l":[]}'),
    ]
    assert fields_of(pairs) == {"a": "x", "n": 1, "b": None, "j": {"k": [1]}, "l": []}


@pytest.mark.parametrize(
    "pairs",
    [
        [("j", "x"), (PAYLOAD, '{"j":1}')],
        [("j", "1"), (PAYLOAD, '{"j":"x"}')],
        [("j", "1"), (PAYLOAD, '{"j":true}')],
        [("j", "x"), (PAYLOAD, '{"j":{}}')],
        [("j", "x"), ("j", "y"), (PAYLOAD, '{"j":["z"]}')],
        [(PAYLOAD, '{"j":{"a":1}}'), (PAYLOAD, '{"j":{"b":2}}')],
        [(PAYLOAD, "null")],
        [(PAYLOAD, "[]")],
        [(PAYLOAD, "")],
        [(PAYLOAD, '{"a":1}{"a":2}')],
        [(PAYLOAD, '{"a":1,"a":2}')],
    ],
)
def test_a_form_whose_payload_could_mean_two_things_is_refused(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(MalformedBody):
        fields_of(pairs)
