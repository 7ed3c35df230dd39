"""What a read means as long as the rules hold: which collection, whose answer it may be, and under which key.

Working this out costs more than answering, so that it is remembered by the very bytes that were asked for.
"""

from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import Counter
from starlette.types import Scope

from gateway.core.caching.cache_class import Public
from gateway.core.caching.cache_key import Member, digest
from gateway.core.caching.kept_answer import Kept, KeptMember, RawHeader, Told
from gateway.core.caching.read_plan import Plan, Plans
from gateway.core.collections.catalogue import Collection
from gateway.core.front_door.limits import action_of
from gateway.core.front_door.pocketbase_route import Route
from gateway.core.front_door.query import Kind
from gateway.core.operation import ReadAction
from gateway.core.rule_files.rule_set import RuleSet
from gateway.core.sessions.principal import Principal
from gateway.observe import operations

MAX_REMEMBERED = 4096
MAX_REMEMBERED_BYTES = 1024
MAX_KEYS = 64
MAX_TAGS = 60


class Knowing(Protocol):
    @property
    def plans(self) -> Plans | None:
        """None while it is not known which rules hold."""
        ...


class Rules(Protocol):
    @property
    def current(self) -> RuleSet:
        """Another object whenever there are other rules."""
        ...


class RateRules(Protocol):
    def rule(self, action: str, collection: str = "") -> str:
        """The name of the limit under which such a use falls."""
        ...


@dataclass(frozen=True, slots=True)
class Ask:
    """A read that was not answered at once. `query` is as the client spelt it, `address` his."""

    route: Route
    raw_path: bytes
    query: bytes
    headers: list[RawHeader]
    address: str
    principal: Principal | None


@dataclass(slots=True)
class Aimed:
    """What one kind of caller asks there. `path` is PocketBase's. `keys` by session, each with the record of the
    caller's that it was made from; by nothing for guests, and where all get the same."""

    plan: Plan
    place: "Place"
    path: str
    tags: tuple[str, ...]
    is_same_for_all: bool
    keys: dict[str, tuple[Kept | None, str]] = field(default_factory=dict[str, tuple[Kept | None, str]])
    counters: dict[Told, Counter] = field(default_factory=dict[Told, Counter])

    def count(self, outcome: Told) -> None:
        if (counter := self.counters.get(outcome)) is None:
            shared = self.plan.verdict.cache_class.name
            counter = self.counters[outcome] = operations(self.place.collection.name, self.place.kind, shared, outcome)
        counter.inc()

    def session(self, principal: Principal | None) -> str:
        return "" if self.is_same_for_all or principal is None else principal.session_id

    def remember(self, principal: Principal | None, key: str, made_from: Kept | None) -> None:
        if len(self.keys) >= MAX_KEYS:
            self.keys.clear()
        self.keys[self.session(principal)] = (made_from, key)
        self.place.has_keys = True

    def key(self, member: Member | None, sent: list[tuple[str, str]]) -> str | None:
        """None: this one must not be kept."""
        key = self.plan.key(self.place.target, member, sent)
        return None if key is None else digest(key).hex()


@dataclass(slots=True)
class Place:
    """What a path means; `aimed` by the collection of who asks. Without keys nobody's answer can be at hand."""

    collection: Collection
    kind: Kind
    target: str
    rule: str
    aimed: dict[str, Aimed] = field(default_factory=dict[str, Aimed])
    has_keys: bool = False


class Aims:
    def __init__(self, knowing: Knowing, rules: Rules, limits: RateRules) -> None:
        self._knowing = knowing
        self._rules = rules
        self._limits = limits
        self._places: dict[tuple[bytes, bytes], Place] = {}
        self._hold: tuple[Plans, RuleSet] | None = None

    @property
    def plans(self) -> Plans | None:
        return self._knowing.plans

    def known(self, scope: Scope) -> Place | None:
        """What was asked for before, since the rules have held."""
        hold = self._hold
        if hold is None or hold[0] is not self._knowing.plans or hold[1] is not self._rules.current:
            return None
        return self._places.get((scope["raw_path"], scope["query_string"]))

    def aimed(self, ask: Ask) -> Aimed | None:
        """None for what is no read of a known collection, or by nobody who is known. Raises MalformedQuery."""
        if (plans := self._knowing.plans) is None:
            return None
        self._hold_to(plans)
        name = (ask.raw_path, ask.query)
        place = self._places.get(name) or self.place(plans, ask.route)
        if place is None:
            return None
        asker = ask.principal.collection_id if ask.principal else ""
        aimed = place.aimed.get(asker) or self.aim(plans, place, ask.query, asker, ask.route)
        if aimed is not None and len(ask.raw_path) + len(ask.query) <= MAX_REMEMBERED_BYTES:
            place.aimed[asker] = aimed
            self._remember(name, place)
        return aimed

    def place(self, plans: Plans, route: Route) -> Place | None:
        collection = plans.schema.find(route.collection or "")
        if route.kind not in ("records", "file") or collection is None or collection.is_system:
            return None
        action = action_of("GET", route)
        rule = self._limits.rule(action, collection.name)
        if route.kind == "file":
            return Place(collection, "file", "/".join(route.after), rule)
        target = route.after[1] if len(route.after) > 1 else ""
        return Place(collection, "view" if target else "list", target, rule)

    def aim(self, plans: Plans, place: Place, query: bytes, asker_id: str, route: Route) -> Aimed | None:
        asker = plans.schema.find(asker_id) if asker_id else None
        if asker_id and asker is None:
            return None
        plan = plans.plan(place.collection, place.kind, query, asker=asker)
        path, asked = route.upstream_path(place.collection.name), plan.query.encoded()
        is_same_for_all = isinstance(plan.verdict.cache_class, Public)
        tags = tuple(sorted(plan.depends_on))
        return Aimed(plan, place, f"{path}?{asked}" if asked else path, tags, is_same_for_all)

    def why_never(self, aimed: Aimed) -> str | None:
        """Why such a read is not kept, if it is not."""
        if not aimed.plan.is_kept:
            return aimed.plan.verdict.why[0]
        if len(aimed.tags) > MAX_TAGS:
            return "It depends on too many collections."
        if aimed.place.kind != "file" and self._is_ruled(aimed):
            return "A rule looks at what is shown."
        return None

    def _is_ruled(self, aimed: Aimed) -> bool:
        """Expanded records count as views of their collections."""
        rules, place = self._rules.current, aimed.place
        if rules.touches_reads(place.collection.name, "list" if place.kind == "list" else "view"):
            return True
        if not aimed.plan.query.get("expand") or (plans := self._knowing.plans) is None:
            return rules.faults != ()
        view: ReadAction = "view"
        shown = (plans.schema.find(id) for id in aimed.plan.depends_on)
        return any(found is not None and rules.touches_reads(found.name, view) for found in shown)

    def _hold_to(self, plans: Plans) -> None:
        rules, hold = self._rules.current, self._hold
        if hold is None or hold[0] is not plans or hold[1] is not rules:
            self._places, self._hold = {}, (plans, rules)

    def _remember(self, name: tuple[bytes, bytes], place: Place) -> None:
        if name not in self._places and len(self._places) >= MAX_REMEMBERED:
            del self._places[next(iter(self._places))]
        self._places[name] = place


def member_key(collection_id: str, record_id: str) -> str:
    return f"member:{collection_id}/{record_id}"


def member_of(principal: Principal, kept: Kept | None) -> Member:
    values = kept.record if isinstance(kept, KeptMember) else {}
    return Member(principal.collection_id, principal.record_id, principal.session_id, values)
