"""Which topics may be subscribed to while rules have a say in who sees records and how: events reach clients past them.

Asked by the process that takes the request, and again by the one that holds the client: it may have read other rules.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

from common.core.errors import Forbidden
from gateway.core.bodies.topics import Topic, topics_of
from gateway.core.collections.catalogue import Catalogue, Collection
from gateway.core.collections.expand_paths import expands_of
from gateway.core.rule_files.rule_set import RuleSet

RULED = "Rules have a say in who sees these records; they cannot be subscribed to."

_NO_COLLECTION = ("@", "")
"""How topics begin that hold no records: `@oauth2` tells a client of its own sign-in."""


class Rules(Protocol):
    @property
    def current(self) -> RuleSet: ...


class KnownCollections(Protocol):
    @property
    def known(self) -> tuple[Collection, ...]:
        """All there are, as far as is known."""
        ...


class TopicCheck:
    def __init__(self, rules: Rules, collections: KnownCollections) -> None:
        self._rules = rules
        self._collections = collections

    def check(self, texts: Iterable[object]) -> None:
        """Raises InvalidRequest, Forbidden, RulesNotLoaded for topics that may not be subscribed to."""
        for topic in topics_of(texts):
            self._check(topic)

    def _check(self, topic: Topic) -> None:
        """Raises Forbidden, RulesNotLoaded."""
        rules = self._rules.current
        rules.check_loaded()
        if not rules.rules or topic.collection[:1] in _NO_COLLECTION:
            return
        for name in self._shown(topic):
            if rules.touches_reads(name, "list") or rules.touches_reads(name, "view"):
                raise Forbidden(RULED)

    def _shown(self, topic: Topic) -> Iterator[str]:
        """Names of collections whose records events of the topic hold. What is not known yet may come to be."""
        yield topic.collection
        known = self._collections.known
        if found := Catalogue(known).find(topic.collection):
            yield found.name
            yield from expands_of(found, topic.expand, known).values()
