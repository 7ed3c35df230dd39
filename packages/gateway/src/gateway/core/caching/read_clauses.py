"""Everything that decides what a read answers: the rule, filter, sort and expands, and the rules that these bring in.

Rules may read anything. What a client filters or sorts by must pass the list rule of each collection that it joins; an
expanded collection is guarded by its view rule; the records of an auth collection show their e-mail address to their
owner and to whom the manage rule lets through.
"""

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gateway.core.caching.rule_reach import Unresolvable, View, field_path, reach
from gateway.core.caching.rule_uses import Scope, Use, uses_of
from gateway.core.collections.catalogue import Collection
from gateway.core.collections.schema import Schema
from gateway.core.front_door.query import Kind, Query
from gateway.core.rule_language.grammar import Comparison, Group, comparisons_of, parse_client_filter
from gateway.core.rule_language.tokens import Unparsable

MAX_EXPANDS = 64
MAX_EXPAND_DEPTH = 12  # PocketBase stops at six
MAX_SORTS = 8
MAX_SORT_BYTES = 255
RANDOM, ROW_ID = "@random", "@rowid"

Origin: TypeAlias = Literal["list rule", "view rule", "manage rule", "filter", "sort"]

_SUPERUSERS_ONLY = ("@collection.", "@request.")
_BACK_RELATION = re.compile(r"(\w+)_via_(\w+)|(\w+)\((\w+)\)", re.ASCII)


class Refused(ValueError):
    """PocketBase would answer this read with an error, or it cannot be told what it would do."""


@dataclass(frozen=True, slots=True)
class Read:
    """A list of a collection's records, one of them, or a file of one. `query` may be as the client spelt it."""

    collection: Collection
    kind: Kind
    query: Query


@dataclass(frozen=True, slots=True)
class Clause:
    """A condition and the collection it is asked of; a sort has paths in place of comparisons."""

    origin: Origin
    collection: Collection
    comparisons: tuple[Comparison, ...] = ()
    paths: tuple[str, ...] = ()

    @property
    def is_client(self) -> bool:
        return self.origin in ("filter", "sort")

    @property
    def name(self) -> str:
        return f"the {self.origin}" if self.is_client else f"the {self.origin} of {self.collection.name}"


@dataclass(frozen=True, slots=True)
class Clauses:
    """`shown` are the collections whose records can stand in the answer."""

    conditions: tuple[Clause, ...]
    shown: frozenset[Collection]
    is_random: bool = False


def clauses_of(read: Read, schema: Schema) -> Clauses:
    """Raises Refused."""
    if read.kind == "file":
        return Clauses((), frozenset({read.collection}))
    try:
        return gathered(read, schema)
    except (Unparsable, Unresolvable) as error:
        raise Refused(str(error)) from error


def gathered(read: Read, schema: Schema) -> Clauses:
    clients = [*filter_clause(read), *sort_clause(read)] if read.kind == "list" else []
    joined = {
        collection: None for clause in clients for use in clause_uses(clause, schema) for collection in use.joined
    }
    expands = expanded(read.collection, read.query.get("expand"), schema)
    shown = {read.collection: None, **expands}
    conditions = [
        *main_rule(read, schema),
        *clients,
        *(clause for collection in joined for clause in rule_clause("list rule", collection, schema)),
        *(clause for collection in expands for clause in rule_clause("view rule", collection, schema)),
        *(clause for collection in shown for clause in rule_clause("manage rule", collection, schema)),
    ]
    is_random = read.kind == "list" and RANDOM in sort_names(read.query.get("sort"))
    return Clauses(tuple(dict.fromkeys(conditions)), frozenset(shown), is_random)


def clause_uses(clause: Clause, schema: Schema, asker: Collection | None = None) -> list[Use]:
    """Raises Unresolvable."""
    scope = Scope(schema, clause.collection, clause.is_client, asker)
    paths = (reach(schema, clause.collection, field_path(path), View(is_client=True)) for path in clause.paths)
    return [
        *(use for comparison in clause.comparisons for use in uses_of(comparison, scope)),
        *(Use("records", clause.origin, path.joined) for path in paths),
    ]


def main_rule(read: Read, schema: Schema) -> list[Clause]:
    origin: Origin = "list rule" if read.kind == "list" else "view rule"
    if rule_of(origin, read.collection) is None:
        raise Refused(f"Only superusers may {read.kind} {read.collection.name}.")
    return rule_clause(origin, read.collection, schema)


def rule_clause(origin: Origin, collection: Collection, schema: Schema) -> list[Clause]:
    """Nothing for a rule that asks nothing: one that lets everybody through, or nobody, so that an expand is empty."""
    rule = rule_of(origin, collection)
    return [clause_of(origin, collection, schema.rule(rule))] if rule else []


def rule_of(origin: Origin, collection: Collection) -> str | None:
    match origin:
        case "list rule":
            return collection.list_rule
        case "view rule":
            return collection.view_rule
        case _:
            return collection.manage_rule if collection.is_auth else None


def clause_of(origin: Origin, collection: Collection, tree: Group) -> Clause:
    return Clause(origin, collection, tuple(comparisons_of(tree)))


def filter_clause(read: Read) -> list[Clause]:
    text = read.query.get("filter")
    refuse_superusers_words(text)
    return [clause_of("filter", read.collection, parse_client_filter(text))] if text else []


def sort_clause(read: Read) -> list[Clause]:
    text = read.query.get("sort")
    refuse_superusers_words(text)
    names = sort_names(text) if text else []
    if len(names) > MAX_SORTS or any(len(name.encode("utf-8", "replace")) > MAX_SORT_BYTES for name in names):
        raise Refused("The sort is too long.")
    paths = tuple(name for name in names if name not in (RANDOM, ROW_ID))
    return [Clause("sort", read.collection, paths=paths)] if paths else []


def refuse_superusers_words(text: str) -> None:
    """Wherever they stand, a quoted text included, as PocketBase does."""
    if any(word in text for word in _SUPERUSERS_ONLY):
        raise Refused("Only superusers may filter or sort by that.")


def sort_names(text: str) -> list[str]:
    trimmed = (name.strip() for name in text.split(","))
    return [name[1:] if name[:1] in ("-", "+") else name for name in trimmed]


def expanded(start: Collection, text: str, schema: Schema) -> dict[Collection, None]:
    """The collections that an expand may bring in; a path that leads nowhere is left out, as PocketBase does."""
    paths = dict.fromkeys(path.replace(" ", "").strip(".") for path in text.split(","))
    if len(paths) > MAX_EXPANDS:
        raise Refused("The expand has too many paths.")
    found: dict[Collection, None] = {}
    for path in paths:
        here: dict[Collection, None] = {start: None}
        for name in path.split(".", MAX_EXPAND_DEPTH)[:MAX_EXPAND_DEPTH]:
            here = {target: None for collection in here for target in expand_targets(collection, name, schema)}
            found |= here
    return found


def expand_targets(here: Collection, name: str, schema: Schema) -> list[Collection]:
    """Both readings of a name that could be a relation or a back-relation."""
    targets: list[Collection] = []
    field = here.field(name)
    if field is not None and field.type == "relation" and field.target:
        targets += schema.matching(field.target)
    if back := _BACK_RELATION.fullmatch(name):
        targets += schema.matching(back[1] or back[3])
    return targets
