"""All that PocketBase's collections say about who may read what, and whether it still says the same."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.core.collections.catalogue import Catalogue, Collection, parse
from gateway.core.rule_language.grammar import Group, parse_rule
from gateway.core.rule_language.tokens import Unparsable


class Schema(Catalogue):
    """One listing of `/api/collections`, system collections included. `digest` changes with anything in it."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        listed = list(rows)
        super().__init__(map(parse, listed))
        self.digest = digest_of(listed)
        self._rules = {rule: tree_of(rule) for rule in rules_of(self.collections)}

    def rule(self, text: str) -> Group:
        """The tree of a rule of one of these collections. Raises Unparsable."""
        if (tree := self._rules.get(text)) is None:
            raise Unparsable("A rule cannot be read.")
        return tree


def digest_of(rows: Iterable[Mapping[str, Any]]) -> str:
    """The same for the same collections in any order."""
    texts = sorted(json.dumps(row, sort_keys=True, separators=(",", ":")) for row in rows)
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def rules_of(collections: Iterable[Collection]) -> set[str]:
    rules = (
        rule
        for collection in collections
        for rule in (collection.list_rule, collection.view_rule, collection.manage_rule)
    )
    return {rule for rule in rules if rule}


def tree_of(rule: str) -> Group | None:
    try:
        return parse_rule(rule)
    except Unparsable:
        return None
