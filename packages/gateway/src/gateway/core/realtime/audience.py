"""Who is told of what: decided here on the record's image, left to PocketBase, or nobody.

A direct subscription of the same caller is the measure. What only superusers may read, what PocketBase sends no events
of (views), and PocketBase's own collections are told to nobody.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from gateway.core.caching.read_clauses import Refused, refuse_superusers_words
from gateway.core.caching.read_plan import Plans
from gateway.core.collections.catalogue import Collection
from gateway.core.realtime.local_rule import (
    EVERYBODY,
    NOBODY,
    Ground,
    LocalRule,
    Undecidable,
    both,
    local_rule,
)
from gateway.core.realtime.projection import Projection, projection_of
from gateway.core.realtime.subscription import EVERY, Subscription
from gateway.core.rule_language.grammar import parse_client_filter
from gateway.core.rule_language.tokens import Unparsable

ID = "id"


@dataclass(frozen=True, slots=True)
class View:
    """Events of a collection that are decided here; `manage` says who sees e-mail addresses that are not shown."""

    collection: Collection
    target: str
    rule: LocalRule
    projection: Projection
    manage: LocalRule
    asker: Collection | None
    wants_leave: bool = False
    since: str | None = None
    wants_snapshot: bool = False

    @property
    def pin(self) -> tuple[str, str] | None:
        """Whoever wants to be told when a record leaves has to be asked about those of others, too."""
        return None if self.wants_leave else self.rule.pin

    @property
    def reads(self) -> frozenset[str]:
        """The fields of the caller's record that make a difference."""
        own = frozenset((ID,)) if self.shows_own_email else frozenset[str]()
        return self.rule.reads | self.manage.reads | own

    @property
    def is_caught_up(self) -> bool:
        """Is something told of before what happens from now on?"""
        return self.wants_snapshot or bool(self.since)

    @property
    def shows_own_email(self) -> bool:
        return self.asker is not None and self.asker.id == self.collection.id and self.projection.hides_email

    def shown(self, record: Mapping[str, Any], caller: Mapping[str, Any]) -> dict[str, Any] | None:
        """What this caller is told of the record; None: nothing."""
        if not self.rule.allows(record, caller):
            return None
        is_own = self.shows_own_email and record.get(ID) == caller.get(ID)
        with_email = self.projection.hides_email and (is_own or self.manage.allows(record, caller))
        return self.projection.shown(record, with_email=with_email)


Audience: TypeAlias = View | Literal["ask", "nobody"]


def audience_of(
    subscription: Subscription, plans: Plans, asker: Collection | None, imageless: AbstractSet[str]
) -> Audience:
    """Of the collections in `imageless`, by id, no images come."""
    schema = plans.schema
    collection = next((one for one in schema.collections if is_named(one, subscription.collection)), None)
    if collection is None or collection.is_system or collection.is_view or not subscription.target:
        return "nobody"
    rule = collection.list_rule if subscription.target == EVERY else collection.view_rule
    if rule is None:
        return "nobody"
    if not subscription.is_plain or subscription.expand or collection.id in plans.enriched | imageless:
        return "ask"
    try:
        return view_of(subscription, Ground(schema, collection, asker), rule)
    except (Undecidable, Unparsable, Refused):
        return "ask"


def is_named(collection: Collection, spelling: str) -> bool:
    return spelling in (collection.name, collection.id)


def view_of(subscription: Subscription, ground: Ground, rule: str) -> View:
    """Raises Undecidable, Unparsable, Refused."""
    collection = ground.collection
    projection = projection_of(collection, subscription.fields)
    if projection is None:
        raise Undecidable("The fields are not plain names.")
    allowed = ruled(rule, ground)
    if subscription.filter:
        refuse_superusers_words(subscription.filter)
        client = Ground(ground.schema, collection, ground.asker, is_client=True)
        allowed = both(allowed, local_rule(parse_client_filter(subscription.filter), client))
    manage = NOBODY
    if projection.hides_email and collection.manage_rule is not None:
        manage = ruled(collection.manage_rule, ground)
    return View(
        collection,
        subscription.target,
        allowed,
        projection,
        manage,
        ground.asker,
        wants_leave=subscription.wants_leave,
        since=subscription.since,
        wants_snapshot=subscription.wants_snapshot,
    )


def ruled(rule: str, ground: Ground) -> LocalRule:
    return local_rule(ground.schema.rule(rule), ground) if rule else EVERYBODY
