"""Carries what a realtime client wants to hear, unless rules have a say in who sees that and how.

Events reach clients past the rules. What these would refuse or redact in a read must not be subscribed to.
"""

from collections.abc import Iterator
from typing import Protocol

from common.core.errors import Forbidden
from gateway.bodies.receive import Incoming
from gateway.bodies.take_in import Intake
from gateway.carry_write import KnownCollections, check_size, taken_in, upstream_request
from gateway.core.bodies.json_body import as_list
from gateway.core.bodies.struct_bodies import REALTIME_BODY, struct_document, struct_fields
from gateway.core.bodies.topics import Topic, topics_of
from gateway.core.collections.catalogue import Catalogue
from gateway.core.collections.expand_paths import expands_of
from gateway.core.front_door.exchange import Upstream
from gateway.core.request import Call
from gateway.core.rule_files.rule_set import RuleSet
from gateway.core.uploads.upload_checks import PLAIN_BODY_BYTES
from gateway.pass_on import passed_on
from gateway.reply import Reply

RULED = "Rules have a say in who sees these records; they cannot be subscribed to."


_NO_COLLECTION = ("@", "")
"""How topics begin that hold no records: `@oauth2` tells a client of its own sign-in."""


class Rules(Protocol):
    @property
    def current(self) -> RuleSet: ...


class Subscriptions:
    def __init__(self, upstream: Upstream, intake: Intake, rules: Rules, collections: KnownCollections) -> None:
        self._upstream = upstream
        self._intake = intake
        self._rules = rules
        self._collections = collections

    async def carry(self, call: Call, incoming: Incoming, reply: Reply) -> None:
        """Answers, or raises a ServiceError."""
        check_size(call, incoming, PLAIN_BODY_BYTES)
        async with taken_in(self._intake, call, incoming) as received:
            fields = struct_fields(received, REALTIME_BODY)
            for topic in topics_of(as_list(fields.get("subscriptions"))):
                self._check(topic)
            document = struct_document(fields) if call.media.kind != "none" else None
            async with self._upstream.exchange(upstream_request(call, document)) as answer:
                await passed_on(answer, reply)

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
