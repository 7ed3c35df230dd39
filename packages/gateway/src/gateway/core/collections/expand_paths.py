"""Which collection the records are of that PocketBase expands, by the path that asks for them."""

import re
from collections.abc import Iterable

from gateway.core.collections.catalogue import Catalogue, Collection

_BACK_RELATION = re.compile(r"(\w+)_via_(\w+)")


def expands_of(start: Collection, expand: str, known: Iterable[Collection]) -> dict[str, str]:
    """Names by path, as in `{"author": "users", "author.team": "teams"}`; a path that leads nowhere is left out.

    `expand` is the parameter as it came, `known` are all collections.
    """
    if not expand:
        return {}
    catalogue = Catalogue(known)
    found: dict[str, str] = {}
    for path in filter(None, (piece.strip() for piece in expand.split(","))):
        here, names = start, path.split(".")
        for depth, name in enumerate(names, 1):
            if (there := one_on(here, name, catalogue)) is None:
                break
            found[".".join(names[:depth])] = there.name
            here = there
    return found


def one_on(here: Collection, name: str, catalogue: Catalogue) -> Collection | None:
    if field := here.field(name):
        return catalogue.find(field.target) if field.target else None
    back = _BACK_RELATION.fullmatch(name)
    other = catalogue.find(back[1]) if back else None
    field = other.field(back[2]) if other and back else None
    return other if field and field.target == here.id else None
