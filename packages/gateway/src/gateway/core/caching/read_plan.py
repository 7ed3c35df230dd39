"""What is known of a read before it is answered: who may share the answer, what ends it, and how it is asked for.

Working this out costs more than answering from the cache, and the same reads come again and again, so that plans are
kept, a bounded number of them, for as long as the schema they were made from holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from gateway.core.caching.cache_class import AuthProjection, Never, Private, Verdict, never, verdict_of
from gateway.core.caching.cache_key import Member, caller_parts, header_parts, joined
from gateway.core.caching.dependencies import all_uses, ids_of, touched
from gateway.core.caching.read_clauses import Read, Refused, clauses_of
from gateway.core.caching.rule_reach import Unresolvable
from gateway.core.collections.catalogue import Collection
from gateway.core.collections.schema import Schema
from gateway.core.front_door.query import Kind, Query, canonical, parse

MAX_PLANS = 4096
MAX_KEPT_QUERY_BYTES = 2048  # a longer one is planned each time, so that plans cannot fill the memory
ENRICHED = "Hooks change what is read of {}."


PlanName: TypeAlias = tuple[str, str, Kind, str, bytes]


@dataclass(frozen=True, slots=True)
class Plan:
    """`query` is what PocketBase must be asked: the canonical form of a read that is kept, else all that was said."""

    query: Query
    verdict: Verdict
    depends_on: frozenset[str]
    prefix: bytes
    is_members: bool = False

    @property
    def is_kept(self) -> bool:
        return not isinstance(self.verdict.cache_class, Never)

    @property
    def depends_on_filler(self) -> bool:
        """Must the answer end with any change to the auth record of the member for whom PocketBase was asked?

        A token that has just become invalid makes its bearer a guest to PocketBase, without a word in the answer; what
        such a one was told must not stay with those who are still members.
        """
        return self.is_members and isinstance(self.verdict.cache_class, AuthProjection | Private)

    @property
    def fields_needed(self) -> frozenset[str]:
        """The fields of the caller's record whose values `key` needs; his id is known anyway."""
        cache_class = self.verdict.cache_class
        return cache_class.fields - {"id"} if isinstance(cache_class, AuthProjection) else frozenset()

    def key(self, target: str, caller: Member | None, sent_headers: Sequence[tuple[str, str]] = ()) -> bytes | None:
        """The key of the answer about `target`: a record's id, a file's id and name, or nothing for a list.

        `sent_headers` are those that PocketBase will see. None: this one must not be kept. Raises KeyError for a
        member without the value of a needed field.
        """
        headers = header_parts(self.verdict.headers, sent_headers) if self.is_kept else None
        if headers is None:
            return None
        return self.prefix + joined([target, *caller_parts(self.verdict.cache_class, caller), "headers", *headers])

    def explained(self, schema: Schema) -> dict[str, Any]:
        """For the operator: what is decided and why, without a value of anybody's."""
        cache_class = self.verdict.cache_class
        found = (schema.find(id) for id in self.depends_on)
        return {
            "class": cache_class.name,
            "keyed_by": sorted(cache_class.fields) if isinstance(cache_class, AuthProjection) else [],
            "headers": sorted(self.verdict.headers),
            "parameters": sorted(self.verdict.parameters),
            "depends_on": sorted(collection.name for collection in found if collection is not None),
            "depends_on_filler": self.depends_on_filler,
            "query": self.query.encoded(),
            "why": list(self.verdict.why),
        }


class Plans:
    """`enriched` are the ids of collections whose records hooks may change on the way out."""

    def __init__(self, schema: Schema, enriched: frozenset[str] = frozenset()) -> None:
        self.schema = schema
        self.enriched = enriched
        self._kept: dict[PlanName, Plan] = {}

    def plan(
        self,
        collection: Collection,
        kind: Kind,
        raw_query: bytes,
        *,
        method: str = "GET",
        asker: Collection | None = None,
    ) -> Plan:
        """`asker` is the caller's auth collection, None for a guest. Raises MalformedQuery."""
        name = (method, collection.id, kind, asker.id if asker else "", raw_query)
        if (plan := self._kept.get(name)) is None:
            plan = self._made(Read(collection, kind, parse(raw_query)), method, asker)
            if len(raw_query) <= MAX_KEPT_QUERY_BYTES:
                self._keep(name, plan)
        return plan

    def _keep(self, name: PlanName, plan: Plan) -> None:
        if len(self._kept) >= MAX_PLANS:
            del self._kept[next(iter(self._kept))]
        self._kept[name] = plan

    def _made(self, read: Read, method: str, asker: Collection | None) -> Plan:
        try:
            verdict, depends_on = self._judged(read, asker)
        except (Refused, Unresolvable) as error:
            verdict, depends_on = never(str(error)), frozenset[str]()
        is_kept = not isinstance(verdict.cache_class, Never)
        query = canonical(read.query, read.kind, verdict.parameters) if is_kept else read.query
        prefix = joined([self.schema.digest, method, read.kind, read.collection.id, query.encoded()])
        return Plan(query, verdict, depends_on, prefix, is_members=asker is not None)

    def _judged(self, read: Read, asker: Collection | None) -> tuple[Verdict, frozenset[str]]:
        clauses = clauses_of(read, self.schema)
        uses = all_uses(clauses, self.schema, asker)
        collections = touched(clauses, (use for used in uses.values() for use in used), self.schema, asker)
        enriched = sorted(collection.name for collection in clauses.shown if collection.id in self.enriched)
        if enriched:
            return never(ENRICHED.format(enriched[0])), ids_of(collections)
        return verdict_of(read, clauses, uses, collections, asker), ids_of(collections)
