"""What a condition reads beside the record it is asked of: other collections, the caller, the request, the clock.

Only this decides who may share an answer and when it lapses; what the condition says with it does not matter. The one
exception is a comparison of the caller's id with nothing, which asks no more than whether somebody is signed in.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gateway.core.caching.rule_reach import (
    Reach,
    Unresolvable,
    View,
    collection_path,
    field_path,
    reach,
    split_modifier,
    the_collection,
)
from gateway.core.collections.catalogue import Collection, Field
from gateway.core.collections.schema import Schema
from gateway.core.rule_language.grammar import Comparison
from gateway.core.rule_language.tokens import Call, Identifier, Number, Operand, Text

MACROS = frozenset(
    f"@{name}"
    for name in (
        *("now", "second", "minute", "hour", "day", "month", "weekday", "year", "yesterday", "tomorrow"),
        *("todayStart", "todayEnd", "monthStart", "monthEnd", "yearStart", "yearEnd"),
    )
)
AUTH_ID = "@request.auth.id"
MAX_STRFTIME_ARGUMENTS = 10

Source: TypeAlias = Literal[
    "records", "constant", "clock", "query", "header", "body", "who", "auth scalar", "auth record"
]

_CONSTANTS = ("null", "true", "false")
_EQUALITIES = ("=", "!=", "?=", "?!=")
_REQUEST_CONSTANTS = ("@request.context", "@request.method")
_REQUEST_VALUE = re.compile(r"@request\.(auth|body|query|headers)\.([\w.:]*\w)", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_STATIC_MODIFIERS = ("", "isset", "lower")
_SCALAR_TYPES = frozenset(("text", "email", "url", "bool", "number", "date", "autodate", "select", "relation"))
_TIME_TYPES = ("date", "autodate", "number")


@dataclass(frozen=True, slots=True)
class Use:
    """`name` is that of the macro, parameter, header or field; `joined` the collections that are read for it.

    "who" is whether there is a caller and of which collection; "auth scalar" one value in the caller's own record;
    "auth record" more of it than one value, or what it points to.
    """

    source: Source
    name: str
    joined: tuple[Collection, ...] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a condition stands. `asker` is the auth collection of the caller, None for a guest."""

    schema: Schema
    collection: Collection
    is_client: bool
    asker: Collection | None


def uses_of(comparison: Comparison, scope: Scope) -> Iterator[Use]:
    """Raises Unresolvable where PocketBase would refuse the comparison."""
    if asks_only_who(comparison, scope):
        yield Use("who", AUTH_ID)
        return
    for side in (comparison.left, comparison.right):
        yield from operand_uses(side, scope)


def asks_only_who(comparison: Comparison, scope: Scope) -> bool:
    sides = (comparison.left, comparison.right)
    if comparison.operator not in _EQUALITIES or scope.is_client or Identifier(AUTH_ID) not in sides:
        return False
    return is_nothing(sides[0] if sides[1] == Identifier(AUTH_ID) else sides[1], scope)


def is_nothing(operand: Operand, scope: Scope) -> bool:
    match operand:
        case Text(value):
            return value == ""
        case Identifier(text):
            return text.lower() == "null" and scope.collection.field(text) is None
        case _:
            return False


def operand_uses(operand: Operand, scope: Scope) -> list[Use]:
    match operand:
        case Text() | Number():
            return []
        case Identifier(text):
            return [identifier_use(text, scope)]
        case Call():
            return call_uses(operand, scope)


def identifier_use(text: str, scope: Scope) -> Use:
    if text in MACROS:
        return Use("clock", text)
    if text.startswith("@"):
        return system_use(text, scope)
    try:
        return Use("records", text, field_reach(text, scope).joined)
    except Unresolvable:
        if text.lower() in _CONSTANTS:
            return Use("constant", text)
        raise


def field_reach(text: str, scope: Scope) -> Reach:
    return reach(scope.schema, scope.collection, field_path(text), View(is_client=scope.is_client))


def system_use(text: str, scope: Scope) -> Use:
    if scope.is_client:
        raise Unresolvable(f"A client may not ask for {text}.")
    if text.startswith("@request."):
        return request_use(text, scope)
    name, path = collection_path(text)
    start = the_collection(scope.schema, name)
    return Use("records", text, (start, *reach(scope.schema, start, path, View()).joined))


def request_use(text: str, scope: Scope) -> Use:
    if text in _REQUEST_CONSTANTS:
        return Use("constant", text)  # a read is a GET or HEAD, which its key says, and expands are always "expand"
    if (found := _REQUEST_VALUE.fullmatch(text)) is None:
        raise Unresolvable(f"{text} is no value of a request.")
    path = found[2].split(".")
    match found[1]:
        case "auth":
            return auth_use(path, scope)
        case "query":
            return Use("query", static_name(path))
        case "headers":
            return Use("header", static_name(path))
        case _:
            return Use("body", text)


def static_name(path: list[str]) -> str:
    """Deeper paths into a text are null, but whether its first name is there may still be asked."""
    if len(path) > 1:
        return path[0]
    name, modifier = split_modifier(path[0])
    if modifier not in _STATIC_MODIFIERS:
        raise Unresolvable(f"{modifier} means nothing there.")
    return name


def auth_use(path: list[str], scope: Scope) -> Use:
    if scope.asker is None:
        return Use("who", ".".join(path))
    name = split_modifier(path[0])[0] if len(path) == 1 else ""
    if name == "id":
        return Use("auth scalar", name)
    found = reach(scope.schema, scope.asker, path, View(is_lenient=True))
    if found.field is None and not found.joined:
        return Use("who", ".".join(path))  # the collection is part of the caller, and all else is null
    if found.field is not None and is_scalar(found):
        return Use("auth scalar", found.field.name)
    return Use("auth record", ".".join(path), found.joined)


def is_scalar(found: Reach) -> bool:
    """Is it one value of the record itself, told apart by how PocketBase's API writes it?"""
    field = found.field
    if field is None or found.joined or found.is_part:
        return False
    return field.type in _SCALAR_TYPES and not field.is_multiple and field.name != "tokenKey"


def call_uses(call: Call, scope: Scope) -> list[Use]:
    """Raises Unresolvable for an unknown function and for arguments that PocketBase does not take."""
    match call.name:
        case "geoDistance":
            check_geo_distance(call)
        case "strftime":
            check_strftime(call)
        case _:
            raise Unresolvable(f"There is no function {call.name}.")
    uses = [use for argument in call.arguments for use in operand_uses(argument, scope)]
    if call.name == "strftime" and may_tell_time(call, scope):
        uses.append(Use("clock", "strftime"))
    return uses


def check_geo_distance(call: Call) -> None:
    if len(call.arguments) != 4 or not all(isinstance(item, Identifier | Number) for item in call.arguments):
        raise Unresolvable("geoDistance takes four numbers.")


def check_strftime(call: Call) -> None:
    first, *rest = call.arguments or (None,)
    if not isinstance(first, Text) or len(rest) >= MAX_STRFTIME_ARGUMENTS:
        raise Unresolvable("strftime takes a format first.")
    if isinstance(next(iter(rest), None), Call) or not all(isinstance(item, Text) for item in rest[1:]):
        raise Unresolvable("strftime takes one time and then modifiers.")


def may_tell_time(call: Call, scope: Scope) -> bool:
    """SQLite takes a missing time value, or a text that reads `now`, for the present."""
    match call.arguments[1:2]:
        case (Number(),):
            return False
        case (Text(value),):
            return not _DATE.match(value)
        case (Identifier(text),):
            field = time_field(text, scope)
            return field is None or field.type not in _TIME_TYPES
        case _:
            return True


def time_field(text: str, scope: Scope) -> Field | None:
    """The field of the record itself or of one it is related to; whatever else it is cannot be told to be a time."""
    if text.startswith("@"):
        return None
    try:
        found = field_reach(text, scope)
    except Unresolvable:
        return None
    return None if found.is_part else found.field
