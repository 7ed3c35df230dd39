"""Which collections a write may change records of.

When a record goes, PocketBase deletes the records that refer to it or takes the reference out of them, and does the
same for each that it deletes. What hooks write besides is for the record feed to tell.
"""

from collections.abc import Iterable

from gateway.core.collections.catalogue import Collection
from gateway.core.operation import WriteAction


def changed_by(action: WriteAction, collection: Collection, known: Iterable[Collection]) -> frozenset[str]:
    """Ids of collections; `known` are all there are."""
    reached = {collection.id}
    if action != "delete":
        return frozenset(reached)
    listed = list(known)
    while found := {other.id for other in listed if other.id not in reached and refers_to(other, reached)}:
        reached |= found
    return frozenset(reached)


def refers_to(collection: Collection, ids: set[str]) -> bool:
    return any(field.target in ids for field in collection.fields)
