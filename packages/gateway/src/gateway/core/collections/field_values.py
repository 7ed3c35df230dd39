"""Values as PocketBase will store them, so that a rule judges what will be there and not how it was spelt.

PocketBase takes `"T"` for true, `"1e3"` for a number, a text for a list of one, and a text that holds JSON for that
JSON. What it will make of a value is written in its place wherever that is certain; the rest stays as it came, and
PocketBase has the last word on it. tests/integration/gateway/test_field_values.py holds this against the real one.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, TypeAlias, cast

from gateway.core.bodies.field_names import field_of
from gateway.core.bodies.form_values import without_exponent
from gateway.core.bodies.json_body import MAX_EXACT_INTEGER, check_depth, is_object, no_number, unique
from gateway.core.bodies.record_body import RecordBody
from gateway.core.body_refusals import MalformedBody
from gateway.core.collections.catalogue import Field

Settle: TypeAlias = Callable[[Field, str, Any], Any]

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,4})?")
_JSON_LIKE = re.compile(r"[\[{0-9-]|(?:true|false|null)$")


def settled_body(body: RecordBody, known: Iterable[Field]) -> RecordBody:
    """`known` are the collection's fields."""
    return replace(body, fields=settled(body.fields, known))


def settled(fields: Mapping[str, Any], known: Iterable[Field]) -> dict[str, Any]:
    """The fields of a body, modifiers under their own names, with the values that PocketBase will make of them."""
    by_name = {field.name: field for field in known}
    return {key: settled_value(by_name.get(field_of(key)), key, value) for key, value in fields.items()}


def settled_value(field: Field | None, key: str, value: Any) -> Any:
    settle = _SETTLE.get(field.type) if field else None
    return settle(field, key, value) if field and settle else value


def boolean(field: Field, key: str, value: Any) -> Any:
    if key != field.name:
        return value
    return value in _TRUE if isinstance(value, str) else isinstance(value, int | float) and value != 0


def number(_field: Field, _key: str, value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if not isinstance(value, str):
        return value if isinstance(value, int | float) else 0
    if not _NUMBER.fullmatch(value) or math.isinf(real := float(value)):
        return value
    return int(real) if real.is_integer() and 0 < abs(real) <= MAX_EXACT_INTEGER else real


def text(field: Field, key: str, value: Any) -> Any:
    return text_of(value) if key == field.name else value


def text_of(value: Any) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return without_exponent(float(value))
        case _:
            return ""


def choice(field: Field, key: str, value: Any) -> Any:
    """Of a select or relation: a list, or one value where there is only room for one and it is the last that counts."""
    found = list(dict.fromkeys(filter(None, texts_of(value))))
    last = found[-1] if found else ""
    is_single = key == field.name and not field.is_multiple and "[" not in last
    return last if is_single else found


def texts_of(value: Any) -> list[str]:
    """A list with a container in it counts for nothing at all."""
    if isinstance(value, list):
        items = cast(list[Any], value)
        return [] if any(isinstance(item, dict | list) for item in items) else [text_of(item) for item in items]
    if isinstance(value, str):
        listed = read_exactly(value) if "[" in value else None
        items = cast(list[Any], listed) if isinstance(listed, list) else [value]
        return [item or "" for item in items] if all(isinstance(item, str | None) for item in items) else [value]
    return [text_of(value)]


def document(field: Field, key: str, value: Any) -> Any:
    if key != field.name or not isinstance(value, str) or not _JSON_LIKE.match(value):
        return value
    found = read_exactly(value)
    return value if found is None and value != "null" else found


def point(field: Field, key: str, value: Any) -> Any:
    if key != field.name or not isinstance(value, str):
        return value
    found = read_exactly(value)
    return found if is_object(found) else value


def read_exactly(value: str) -> Any:
    """The JSON in a text, None if it is none or holds numbers that PocketBase would keep and a float would not."""
    try:
        found = _EXACTLY.decode(value)
        check_depth(found)
        return found
    except (ValueError, RecursionError, MalformedBody):
        return None


def exact_integer(text: str) -> int | float:
    if len(text) > 17 or abs(found := int(text)) > MAX_EXACT_INTEGER:
        raise ValueError("a number is beyond what a float holds")
    return -0.0 if text == "-0" else found


def exact_real(text: str) -> float:
    found = float(text)
    if len(text) > 400 or math.isinf(found) or Decimal(text) != Decimal(repr(found)):
        raise ValueError("a number is beyond what a float holds")
    return found


_EXACTLY = json.JSONDecoder(
    object_pairs_hook=unique, parse_int=exact_integer, parse_float=exact_real, parse_constant=no_number, strict=True
)
_SETTLE: Mapping[str, Settle] = {
    "bool": boolean,
    "number": number,
    "text": text,
    "editor": text,
    "email": text,
    "url": text,
    "select": choice,
    "relation": choice,
    "json": document,
    "geoPoint": point,
}
