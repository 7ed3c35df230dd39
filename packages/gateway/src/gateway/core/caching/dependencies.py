"""Which collections an answer depends on: a change to a record of any other leaves it as it is.

Beside what is shown and what rules, filter, sort and expands read, the caller's own collection counts where a value of
his record decides, and the tables of every view that is touched. Collections are named by id.
"""

from collections.abc import Iterable

from gateway.core.caching.read_clauses import Clauses, clause_uses
from gateway.core.caching.rule_uses import Use
from gateway.core.collections.catalogue import Collection
from gateway.core.collections.schema import Schema
from gateway.core.collections.view_query import tables_of


def all_uses(clauses: Clauses, schema: Schema, asker: Collection | None) -> dict[str, list[Use]]:
    """What each clause reads, by its name. Raises Unresolvable where PocketBase would refuse the read."""
    return {clause.name: clause_uses(clause, schema, asker) for clause in clauses.conditions}


def touched(clauses: Clauses, uses: Iterable[Use], schema: Schema, asker: Collection | None) -> frozenset[Collection]:
    listed = list(uses)
    collections = set(clauses.shown)
    collections.update(collection for use in listed for collection in use.joined)
    if asker is not None and any(is_of_record(use) for use in listed):
        collections.add(asker)
    tables = (tables_of(collection, schema) for collection in list(collections) if collection.is_view)
    return frozenset(collections.union(*tables))


def is_of_record(use: Use) -> bool:
    """Does it read what may change in the caller's record? Its id does not."""
    return use.source == "auth record" or (use.source == "auth scalar" and use.name != "id")


def ids_of(collections: Iterable[Collection]) -> frozenset[str]:
    return frozenset(collection.id for collection in collections)
