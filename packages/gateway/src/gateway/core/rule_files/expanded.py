"""The records inside an answer's records: what PocketBase expanded, and which collection each is of."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from common.core.errors import InvalidRequest

MAX_DEPTH = 10  # PocketBase expands six levels

UNNAMED = "The expanded records cannot be told apart; ask for their collectionName as well."


def expanded(
    records: Iterable[Mapping[str, Any]], expands: Mapping[str, str], path: str = "", depth: int = 0
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Collection and record, the outer ones first.

    `expands` has precedence over what the record says, which `fields` may have left out. Raises InvalidRequest when
    neither tells: such a record cannot be shown to the rules of its collection.
    """
    if depth > MAX_DEPTH:
        raise InvalidRequest(UNNAMED)
    for record in records:
        relations = record.get("expand")
        if not isinstance(relations, dict):
            continue
        for relation, value in cast(dict[str, object], relations).items():
            inner_path = f"{path}.{relation}" if path else relation
            for inner in records_in(value):
                yield collection_of(inner, expands.get(inner_path)), inner
                yield from expanded([inner], expands, inner_path, depth + 1)


def records_in(value: object) -> list[dict[str, Any]]:
    items = cast(list[object], value) if isinstance(value, list) else [value]
    return [cast(dict[str, Any], item) for item in items if isinstance(item, dict)]


def collection_of(record: Mapping[str, Any], known: str | None) -> str:
    name: object = known or record.get("collectionName")
    if not isinstance(name, str) or not name:
        raise InvalidRequest(UNNAMED)
    return name
