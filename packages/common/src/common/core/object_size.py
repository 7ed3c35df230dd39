"""How many bytes of memory a value takes, with all that hangs on it."""

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from typing import Any, cast

import msgspec

MAX_DEPTH = 64


def object_size_bytes(value: object) -> int:
    """The sum over the value and what it holds: containers, dataclasses and msgspec structs are entered.

    What is held twice counts once. Raises ValueError beyond 64 levels.
    """
    seen: set[int] = set()
    total, level = 0, {id(value): value}
    for _ in range(MAX_DEPTH):
        total += sum(map(sys.getsizeof, level.values()))
        seen |= level.keys()
        level = {id(inner): inner for item in level.values() for inner in _held_by(item) if id(inner) not in seen}
        if not level:
            return total
    raise ValueError(f"The value is nested deeper than {MAX_DEPTH} levels.")


def _held_by(value: object) -> Iterator[object]:
    if isinstance(value, str | bytes | bytearray | memoryview | int | float | bool | None):
        return
    if isinstance(value, Mapping):
        for key, item in cast(Mapping[object, object], value).items():
            yield key
            yield item
    elif isinstance(value, list | tuple | set | frozenset):
        yield from cast(list[object], value)
    elif isinstance(value, msgspec.Struct):
        yield from (getattr(value, name) for name in value.__struct_fields__)
    elif dataclasses.is_dataclass(value):
        yield from (getattr(value, field.name) for field in dataclasses.fields(cast(Any, value)))
