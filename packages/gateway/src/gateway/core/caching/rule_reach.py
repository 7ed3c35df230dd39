"""Where an identifier of a rule or filter leads: the collections it joins and the field it ends in.

Follows PocketBase's own resolver (core/record_field_resolver_runner.go upstream), with its two ways of looking: a
rule sees hidden fields and passes through every collection; what a client filters or sorts by sees no hidden field and
must be let through by the list rule of every collection it joins.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.core.collections.catalogue import Collection, Field
from gateway.core.collections.schema import Schema

MAX_RELATIONS = 6
MODIFIERS = frozenset(("isset", "changed", "length", "each", "lower"))

_BACK_RELATION = re.compile(r"(\w+)_via_(\w+)", re.ASCII)
_PATH = re.compile(r"\w+[\w.:]*", re.ASCII)
_COLLECTION_PATH = re.compile(r"@collection\.(\w+)(?::\w+)?\.([\w.:]*\w)", re.ASCII)
_NESTED = ("json", "geoPoint")


class Unresolvable(ValueError):
    """PocketBase would refuse the identifier, or what it means cannot be told for certain."""


@dataclass(frozen=True, slots=True)
class Reach:
    """`joined` leaves out where the path began. No field: the path ends nowhere and its value is null."""

    joined: tuple[Collection, ...]
    field: Field | None
    is_part: bool = False
    modifier: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """How a path is looked along: `is_client` as a client's filter, `is_lenient` with null for what is missing."""

    is_client: bool = False
    is_lenient: bool = False


def field_path(text: str) -> list[str]:
    """Raises Unresolvable for what is no path of plain names."""
    if not _PATH.fullmatch(text):
        raise Unresolvable(f"{text} is no field.")
    return text.split(".")


def collection_path(text: str) -> tuple[str, list[str]]:
    """The collection and the path of `@collection.NAME[:ALIAS].PATH`. Raises Unresolvable."""
    if (found := _COLLECTION_PATH.fullmatch(text)) is None:
        raise Unresolvable(f"{text} is no field of a collection.")
    return found[1], found[2].split(".")


def the_collection(schema: Schema, spelling: str) -> Collection:
    """Raises Unresolvable for none and for more than one."""
    if len(matches := schema.matching(spelling)) != 1:
        raise Unresolvable(f"{spelling} is not one collection.")
    return matches[0]


def reach(schema: Schema, start: Collection, path: Sequence[str], view: View) -> Reach:
    """Raises Unresolvable."""
    joined: list[Collection] = []
    here = start
    for index, name in enumerate(path[:-1]):
        field = visible(here.field(name), view)
        if field is not None and field.type in _NESTED:
            return Reach(tuple(joined), field, is_part=True)
        if index >= MAX_RELATIONS:
            raise Unresolvable(f"The path to {path[-1]} is too long.")
        if field is not None and is_own_id(field, path[index + 1 :]):
            return Reach(tuple(joined), field)
        step = related(schema, here, name, field, view)
        if step is None:
            return Reach(tuple(joined), None)
        here = entered(step, view)
        joined.append(here)
    name, modifier = split_modifier(path[-1])
    return Reach(tuple(joined), last_field(here, name, view), modifier=modifier)


def is_own_id(field: Field, rest: Sequence[str]) -> bool:
    """`author.id` is read from `author` itself."""
    return field.type == "relation" and not field.is_multiple and list(rest) == ["id"]


def related(schema: Schema, here: Collection, name: str, field: Field | None, view: View) -> Collection | None:
    """The collection one step on; None where a lenient view finds nothing."""
    if field is None:
        return back_related(schema, here, name, view)
    if field.type != "relation" or field.target is None:
        raise Unresolvable(f"{name} is no relation.")
    return the_collection(schema, field.target)


def back_related(schema: Schema, here: Collection, name: str, view: View) -> Collection | None:
    found = _BACK_RELATION.fullmatch(name)
    matches = schema.matching(found[1]) if found else []
    if len(matches) > 1:
        raise Unresolvable(f"{name} is not one collection.")
    field = matches[0].field(found[2]) if found and matches else None
    if field is None or field.type != "relation" or field.target != here.id:
        return missing(name, view)
    visible(field, view)
    return matches[0]


def entered(collection: Collection, view: View) -> Collection:
    if view.is_client and collection.list_rule is None:
        raise Unresolvable(f"{collection.name} may be searched by superusers only.")
    return collection


def last_field(here: Collection, name: str, view: View) -> Field | None:
    return visible(here.field(name), view) or missing(name, view)


def visible(field: Field | None, view: View) -> Field | None:
    if field is not None and field.is_hidden and view.is_client:
        raise Unresolvable(f"{field.name} is hidden.")
    return field


def missing(name: str, view: View) -> None:
    if not view.is_lenient:
        raise Unresolvable(f"There is no {name}.")


def split_modifier(text: str) -> tuple[str, str]:
    """More than one colon belongs to the name, as in PocketBase. Raises Unresolvable for an unknown modifier."""
    name, *modifiers = text.split(":")
    if len(modifiers) != 1:
        return text, ""
    if modifiers[0] not in MODIFIERS:
        raise Unresolvable(f"{modifiers[0]} is no modifier.")
    return name, modifiers[0]
