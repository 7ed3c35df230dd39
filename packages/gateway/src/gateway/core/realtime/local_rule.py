"""Rules and filters that can be decided on a record's image alone, with PocketBase's meaning to the letter.

Only comparisons of one value of the record, one value of the caller's own record and constants, each side of the same
kind, are decided here; for anything else there is no LocalRule, and PocketBase is asked. PocketBase writes a rule out
as SQL (tools/search/filter.go upstream): a missing value equals an empty text, `&&` binds tighter than `||`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import eq, ge, gt, le, lt
from types import NoneType
from typing import Any, Literal, TypeAlias

from gateway.core.caching.rule_reach import Reach, Unresolvable, View, field_path, reach
from gateway.core.collections.catalogue import Collection
from gateway.core.collections.schema import Schema
from gateway.core.rule_language.grammar import Comparison, Group
from gateway.core.rule_language.tokens import Identifier, Number, Operand, Text

Values: TypeAlias = Mapping[str, Any]
Kind: TypeAlias = Literal["text", "number", "bool", "nothing"]
Get: TypeAlias = Callable[[Values, Values], Any]
Allows: TypeAlias = Callable[[Values, Values], bool]
Compare: TypeAlias = Callable[[Any, Any], bool]

_KINDS: Mapping[str, Kind] = {
    "text": "text",
    "email": "text",
    "url": "text",
    "select": "text",
    "relation": "text",
    "number": "number",
    "bool": "bool",
}
_TYPES: Mapping[Kind, frozenset[type]] = {
    "text": frozenset((str, NoneType)),
    "number": frozenset((int, float, NoneType)),
    "bool": frozenset((bool, NoneType)),
    "nothing": frozenset((NoneType,)),
}
_REQUEST: Mapping[str, str] = {"@request.context": "realtime", "@request.method": "GET"}
_AUTH = "@request.auth."
_EQUAL, _UNEQUAL = ("=", "?="), ("!=", "?!=")
_ORDERS: Mapping[str, Compare] = {">": gt, ">=": ge, "<": lt, "<=": le}


class Undecidable(ValueError):
    """It takes PocketBase to tell."""


@dataclass(frozen=True, slots=True)
class Term:
    """One side of a comparison. `field` is the record's, `auth` the caller's, where it is one of these."""

    kind: Kind
    get: Get
    field: str = ""
    auth: str = ""


@dataclass(frozen=True, slots=True)
class LocalRule:
    """`allows(record, caller)`; a guest has no values. `reads` are the caller's fields that decide. Where there is a
    `pin`, only records whose field of that name equals the caller's are allowed."""

    allows: Allows
    reads: frozenset[str] = frozenset()
    pin: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a rule stands. `asker` is the caller's auth collection, None for a guest."""

    schema: Schema
    collection: Collection
    asker: Collection | None
    is_client: bool = False


EVERYBODY = LocalRule(lambda _record, _caller: True)
NOBODY = LocalRule(lambda _record, _caller: False)


def local_rule(tree: Group, ground: Ground) -> LocalRule:
    """Raises Undecidable."""
    reads: set[str] = set()
    alternatives = [[decided(item, ground, reads) for item in conjunction] for conjunction in alternatives_of(tree)]
    pin = pin_of(tree, ground) if len(alternatives) == 1 else None
    if len(alternatives) == 1 and len(alternatives[0]) == 1:
        return LocalRule(alternatives[0][0], frozenset(reads), pin)

    def allows(record: Values, caller: Values) -> bool:
        return any(all(part(record, caller) for part in parts) for parts in alternatives)

    return LocalRule(allows, frozenset(reads), pin)


def both(first: LocalRule, second: LocalRule) -> LocalRule:
    """What both allow."""
    if first is EVERYBODY or second is EVERYBODY:
        return second if first is EVERYBODY else first

    def allows(record: Values, caller: Values) -> bool:
        return first.allows(record, caller) and second.allows(record, caller)

    return LocalRule(allows, first.reads | second.reads, first.pin or second.pin)


def alternatives_of(tree: Group) -> list[list[Comparison | Group]]:
    """SQL's own precedence: `a && b || c` is `(a && b) || c`."""
    found: list[list[Comparison | Group]] = [[]]
    for index, member in enumerate(tree.members):
        if index and member.join == "||":
            found.append([])
        found[-1].append(member.item)
    return found


def decided(item: Comparison | Group, ground: Ground, reads: set[str]) -> Allows:
    if isinstance(item, Group):
        inner = local_rule(item, ground)
        reads |= inner.reads
        return inner.allows
    left, right = term_of(item.left, ground), term_of(item.right, ground)
    reads |= {term.auth for term in (left, right) if term.auth}
    return comparison_of(item.operator, left, right)


def pin_of(tree: Group, ground: Ground) -> tuple[str, str] | None:
    for member in tree.members:
        if isinstance(member.item, Comparison) and member.item.operator in _EQUAL:
            sides = (term_of(member.item.left, ground), term_of(member.item.right, ground))
            field, auth = sides[0].field or sides[1].field, sides[0].auth or sides[1].auth
            if field and auth and all(side.kind == "text" for side in sides):
                return field, auth
    return None


def comparison_of(operator: str, left: Term, right: Term) -> Allows:
    """Of a value of another kind, as a field has after a change of the collection, nothing is true."""
    kind = right.kind if left.kind == "nothing" else left.kind
    if right.kind not in (kind, "nothing"):
        raise Undecidable("Values of two kinds are compared.")
    compare, types = comparing(operator, kind), _TYPES[kind]
    get_left, get_right = left.get, right.get

    def allows(record: Values, caller: Values) -> bool:
        a, b = get_left(record, caller), get_right(record, caller)
        return type(a) in types and type(b) in types and compare(a, b)

    return allows


def comparing(operator: str, kind: Kind) -> Compare:
    """Raises Undecidable."""
    equal = is_same_text if kind in ("text", "nothing") else eq
    if operator in _EQUAL:
        return equal
    if operator in _UNEQUAL:
        return lambda a, b: not equal(a, b)
    if kind != "number":
        raise Undecidable(f"{operator} is asked of no numbers.")
    return ordering(operator)


def is_same_text(a: str | None, b: str | None) -> bool:
    return (a or "") == (b or "")


def ordering(operator: str) -> Compare:
    """What is missing is neither less nor more than anything. Raises Undecidable."""
    if (compare := _ORDERS.get(operator.removeprefix("?"))) is None:
        raise Undecidable(f"{operator} is not decided here.")
    return lambda a, b: a is not None and b is not None and compare(a, b)


def term_of(operand: Operand, ground: Ground) -> Term:
    """Raises Undecidable."""
    match operand:
        case Text(value):
            return constant("text", value)
        case Number(text):
            return constant("number", float(text))
        case Identifier(text) if text.startswith("@"):
            return request_term(text, ground)
        case Identifier(text):
            return field_term(text, ground)
        case _:
            raise Undecidable("A function is called.")


def constant(kind: Kind, value: Any) -> Term:
    return Term(kind, lambda _record, _caller: value)


def field_term(text: str, ground: Ground) -> Term:
    try:
        found = reach(ground.schema, ground.collection, field_path(text), View(is_client=ground.is_client))
    except Unresolvable as error:
        return constant_term(text, error, ground)
    name, kind = plain_field(found)
    if ground.is_client and ground.collection.is_auth and name == "email":
        raise Undecidable("Whose e-mail address may be searched depends on whether it is shown.")
    return Term(kind, lambda record, _caller: record.get(name), field=name)


def constant_term(text: str, error: Unresolvable, ground: Ground) -> Term:
    match text.lower():
        case "true" | "false" if ground.collection.field(text) is None:
            return constant("bool", text.lower() == "true")
        case "null" if ground.collection.field(text) is None:
            return constant("nothing", None)
        case _:
            raise Undecidable(str(error)) from error


def request_term(text: str, ground: Ground) -> Term:
    if ground.is_client:
        raise Undecidable("A client may not ask for that.")
    if (told := _REQUEST.get(text)) is not None:
        return constant("text", told)
    if not text.startswith(_AUTH):
        raise Undecidable(f"{text} is not known here.")
    return auth_term(text.removeprefix(_AUTH), ground)


def auth_term(name: str, ground: Ground) -> Term:
    asker = ground.asker
    if asker is None:
        return constant("nothing", None) if name.isidentifier() else undecidable(name)
    if name in ("collectionId", "collectionName"):
        return constant("text", asker.id if name == "collectionId" else asker.name)
    try:
        found = reach(ground.schema, asker, field_path(name), View(is_lenient=True))
    except Unresolvable as error:
        raise Undecidable(str(error)) from error
    if found.field is None and not found.joined and name.isidentifier():
        return constant("nothing", None)
    field, kind = plain_field(found)
    return Term(kind, lambda _record, caller: caller.get(field), auth=field)


def plain_field(found: Reach) -> tuple[str, Kind]:
    """Raises Undecidable for whatever is not one value of the record itself."""
    field = found.field
    if field is None or found.joined or found.is_part or found.modifier or field.is_multiple:
        return undecidable("That")
    if field.name == "tokenKey" or (kind := _KINDS.get(field.type)) is None:
        return undecidable(field.name)
    return field.name, kind


def undecidable(what: str) -> Any:
    raise Undecidable(f"{what} is not one plain value.")
