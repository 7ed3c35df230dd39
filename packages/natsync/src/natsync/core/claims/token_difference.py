"""What two versions of a token say differently, for people: one line each, no secrets, and no tokens within them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

MOST_LINES = 50
MOST_CHARACTERS = 200
SECRET = frozenset({"token", "jwt"})


def token_difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    found = list(differences(before, after, ""))
    if len(found) > MOST_LINES:
        found = [*found[:MOST_LINES], f"and {len(found) - MOST_LINES} more"]
    return tuple(found)


def differences(before: object, after: object, path: str) -> Iterable[str]:
    if before == after:
        return
    if isinstance(before, dict | None) and isinstance(after, dict | None) and (before or after):
        old, new = cast(Mapping[str, object], before or {}), cast(Mapping[str, object], after or {})
        for name in sorted({*old, *new}):
            yield from differences(old.get(name), new.get(name), f"{path}.{name}" if path else name)
    elif isinstance(before, list | None) and isinstance(after, list | None) and (before or after):
        yield from list_differences(cast(Sequence[object], before or ()), cast(Sequence[object], after or ()), path)
    else:
        yield f"{path}: {told(path, cast(object, before))} -> {told(path, cast(object, after))}"


def list_differences(before: Sequence[object], after: Sequence[object], path: str) -> Iterable[str]:
    """Of lists it counts what is in them, not where."""
    old, new = [told(path, item) for item in before], [told(path, item) for item in after]
    yield from (f"{path}: without {item}" for item in old if item not in new)
    yield from (f"{path}: with {item}" for item in new if item not in old)


def told(path: str, value: object) -> str:
    if value is None:
        return "nothing"
    if path.rpartition(".")[2] in SECRET:
        return "a token"
    text = json.dumps(without_tokens(value), ensure_ascii=False, sort_keys=True, default=str)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}..."


def without_tokens(value: object) -> object:
    if isinstance(value, dict):
        items = cast(Mapping[str, object], value).items()
        return {name: "a token" if name in SECRET else without_tokens(item) for name, item in items}
    if isinstance(value, list | tuple):
        return [without_tokens(item) for item in cast(Sequence[object], value)]
    return value
