"""Form fields to what PocketBase makes of them: numbers and booleans inferred, repeated names to lists.

The rules are those of PocketBase's `tools/router/unmarshal_request_data.go`, which
tests/integration/gateway/test_body_meaning.py holds against the real one.
"""

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

from gateway.core.bodies.json_body import integer, is_object, parsed
from gateway.core.body_refusals import MalformedBody

Pairs: TypeAlias = Sequence[tuple[str, str]]

PAYLOAD = "@jsonPayload"
MAX_PAIRS = 1000

BROKEN_FORM = "The form is not properly escaped UTF-8."
TOO_MANY = f"The form has more than {MAX_PAIRS} fields."
BROKEN_PAYLOAD = f"{PAYLOAD} is not a JSON object."
TWO_MEANINGS = "A field is given twice, in two ways."

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_NUMBER = re.compile(r"-?[0-9][-.0-9]*|-[-.0-9]*")
_LONGEST_NUMBER = 400  # the smallest float of 64 bits takes some 350 characters without an exponent


def pairs_of(form: bytes) -> Pairs:
    """An urlencoded form's names and values. Raises MalformedBody for what Go and Python could read differently."""
    pieces = [piece for piece in form.split(b"&") if piece]
    if len(pieces) > MAX_PAIRS:
        raise MalformedBody(TOO_MANY)
    if b";" in form or _BROKEN_ESCAPE.search(form):
        raise MalformedBody(BROKEN_FORM)
    return [(unescaped(name), unescaped(value)) for name, _, value in (piece.partition(b"=") for piece in pieces)]


def unescaped(piece: bytes) -> str:
    try:
        return unquote_to_bytes(piece.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedBody(BROKEN_FORM) from error


def fields_of(pairs: Pairs) -> dict[str, Any]:
    """The record fields that a form means. Raises MalformedBody."""
    values: dict[str, list[Any]] = {}
    for name, raw in pairs:
        if name != PAYLOAD:
            values.setdefault(name, []).append(inferred(raw))
    fields: dict[str, Any] = {name: found[0] if len(found) == 1 else found for name, found in values.items()}
    for payload in payloads_of(pairs):
        merge(fields, payload)
    return fields


def payloads_of(pairs: Pairs) -> Iterable[dict[str, Any]]:
    """Raises MalformedBody. PocketBase lets the payload `null` wipe all other fields; here it is refused."""
    for name, raw in pairs:
        if name == PAYLOAD:
            payload = parsed(raw.encode())
            if not is_object(payload):
                raise MalformedBody(BROKEN_PAYLOAD)
            yield payload


def merge(fields: dict[str, Any], payload: dict[str, Any]) -> None:
    """Put the payload over the fields.

    A name that both have may replace a scalar of its own kind, or be null. PocketBase refuses the other kinds of
    scalars as well; containers it merges in ways that depend on what stands inside them, which is refused here.
    """
    for name, value in payload.items():
        if name in fields and value is not None and not are_alike(fields[name], value):
            raise MalformedBody(TWO_MEANINGS)
        fields[name] = value


def are_alike(one: Any, other: Any) -> bool:
    return (
        one is None
        or any(isinstance(one, kind) and isinstance(other, kind) for kind in (bool, str))
        or (is_number(one) and is_number(other))
    )


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def inferred(raw: str) -> bool | int | float | str:
    """A value becomes a number only if it is how Go writes that number without an exponent."""
    if raw in ("true", "false"):
        return raw == "true"
    if len(raw) > _LONGEST_NUMBER or not _NUMBER.fullmatch(raw):
        return raw
    try:
        number = float(raw)
    except ValueError:
        return raw
    return (integer(raw) if "." not in raw else number) if without_exponent(number) == raw else raw


def without_exponent(number: float) -> str:
    """The shortest decimal that is this float, as Go's `FormatFloat(v, 'f', -1, 64)`."""
    return format(Decimal(repr(number)), "f").removesuffix(".0") if abs(number) < float("inf") else ""
