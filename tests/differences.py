"""Where two JSON values differ, which are too large to be compared by eye."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import cast

SHOWN = 5
SHOWN_CHARACTERS = 300


def where_they_differ(left: object, right: object) -> str:
    """The first differences, with what each side says there."""
    return "\n".join(islice(differences(left, right), SHOWN))


def differences(left: object, right: object, path: str = "") -> Iterator[str]:
    match as_object(left), as_object(right), as_list(left), as_list(right):
        case dict() as one, dict() as other, _, _:
            for name in sorted({*one, *other}):
                yield from differences(one.get(name, "nothing"), other.get(name, "nothing"), f"{path}.{name}")
        case _, _, list() as one, list() as other if len(one) == len(other):
            for index, pair in enumerate(zip(one, other, strict=True)):
                yield from differences(*pair, f"{path}[{index}]")
        case _ if canonical(left) != canonical(right):
            yield f"{path}: {canonical(left)[:SHOWN_CHARACTERS]} | {canonical(right)[:SHOWN_CHARACTERS]}"
        case _:
            pass


def as_object(value: object) -> dict[str, object] | None:
    return cast(dict[str, object], value) if isinstance(value, dict) else None


def as_list(value: object) -> list[object] | None:
    return cast(list[object], value) if isinstance(value, list) else None


def canonical(value: object) -> str:
    """The same text for the same value, to the last digit, in whatever order its names came."""
    return json.dumps(value, sort_keys=True)
