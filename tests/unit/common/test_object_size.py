import dataclasses
import sys

import msgspec
import pytest

from common.core.object_size import object_size_bytes


class Point(msgspec.Struct):
    name: str
    places: list[bytes]


@dataclasses.dataclass
class Pair:
    left: bytes
    right: bytes


def test_a_plain_value_weighs_what_python_says() -> None:
    for value in (b"x" * 100, "text", 12, 1.5, None, True):
        assert object_size_bytes(value) == sys.getsizeof(value)


def test_containers_structs_and_dataclasses_weigh_what_they_hold() -> None:
    big = bytes(10_000)
    held: list[object] = [
        [big],
        (big,),
        {big},
        frozenset({big}),
        {"key": big},
        {big: 1},
        Point("p", [big]),
        Pair(big, b""),
    ]
    assert all(object_size_bytes(value) > 10_000 for value in held)


def test_what_is_held_twice_counts_once() -> None:
    big = bytes(10_000)
    assert object_size_bytes([big, big, [big]]) < 11_000


def test_a_value_that_holds_itself_is_weighed_all_the_same() -> None:
    value: list[object] = [bytes(1000)]
    value.append(value)
    assert 1000 < object_size_bytes(value) < 1500


def test_what_is_nested_too_deeply_is_refused() -> None:
    value: list[object] = []
    for _ in range(100):
        value = [value]
    with pytest.raises(ValueError, match="64"):
        object_size_bytes(value)
