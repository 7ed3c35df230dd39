"""Which rules there are and which of them apply, in which order.

Rules of one phase run in the order of their files' names and of their place in the file, wildcards among them. The
phases of a write are validate, before and moderate; after follows PocketBase's answer, to writes and reads alike.
A set in which any file did not load lets nothing through: nobody knows what the file would have refused or redacted.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from gateway.core.operation import Action, Operation, Write
from gateway.core.rule_files.context import Context
from gateway.core.rule_files.refusals import RulesNotLoaded

Phase: TypeAlias = Literal["validate", "before", "moderate", "after"]
RuleCall: TypeAlias = Callable[[Context], object] | Callable[[Context], Awaitable[object]]

EVERY = "*"


@dataclass(frozen=True, slots=True)
class Place:
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Guard:
    """Names of collections are case-folded, as PocketBase compares them."""

    phase: Phase
    name: str
    place: Place
    collections: frozenset[str]
    actions: frozenset[Action]

    def guards(self, collection: str, action: Action) -> bool:
        return action in self.actions and (EVERY in self.collections or collection.casefold() in self.collections)


@dataclass(frozen=True, slots=True)
class Rule(Guard):
    call: Callable[[Context], Any]
    is_async: bool


@dataclass(frozen=True, slots=True)
class ModeratedFields(Guard):
    """`fields` may be `*`; without a threshold of its own the configured one counts."""

    fields: frozenset[str]
    threshold: float | None


@dataclass(frozen=True, slots=True)
class LoadFault:
    """Why a file did not load."""

    place: Place
    reason: str


G = TypeVar("G", bound=Guard)


class Index(Generic[G]):
    """Guards by collection and action, looked up once per request however many there are."""

    def __init__(self, guards: Iterable[G]) -> None:
        listed = list(guards)
        named = {name for guard in listed for name in guard.collections} | {EVERY}
        self._by_name = {name: self._of(listed, name) for name in named}

    @staticmethod
    def _of(guards: list[G], name: str) -> Mapping[Action, tuple[G, ...]]:
        found: dict[Action, tuple[G, ...]] = {}
        for guard in guards:
            for action in guard.actions:
                if guard.guards(name, action):
                    found[action] = (*found.get(action, ()), guard)
        return found

    def find(self, collection: str, action: Action) -> tuple[G, ...]:
        by_action = self._by_name.get(collection.casefold()) or self._by_name[EVERY]
        return by_action.get(action, ())


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class RuleSet:
    """All rules in force at one time. It never changes: another set takes its place."""

    rules: tuple[Rule, ...] = ()
    moderated: tuple[ModeratedFields, ...] = ()
    faults: tuple[LoadFault, ...] = ()
    files: tuple[str, ...] = ()
    after_answers: tuple[Rule, ...] = field(init=False, repr=False)
    _rules: Mapping[Phase, Index[Rule]] = field(init=False, repr=False)
    _moderated: Index[ModeratedFields] = field(init=False, repr=False)
    _redacts_views: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        phases: tuple[Phase, ...] = ("validate", "before", "after")
        indexes = {phase: Index(rule for rule in self.rules if rule.phase == phase) for phase in phases}
        object.__setattr__(self, "_rules", indexes)
        object.__setattr__(self, "after_answers", tuple(rule for rule in self.rules if rule.phase == "after"))
        object.__setattr__(self, "_moderated", Index(self.moderated))
        redacts_views = any(rule.phase == "after" and "view" in rule.actions for rule in self.rules)
        object.__setattr__(self, "_redacts_views", redacts_views)

    def check_loaded(self) -> None:
        """Raises RulesNotLoaded when any file is at fault."""
        if self.faults:
            raise RulesNotLoaded

    def find(self, phase: Phase, collection: str, action: Action) -> tuple[Rule, ...]:
        return self._rules[phase].find(collection, action)

    def find_moderated(self, collection: str, action: Action) -> tuple[ModeratedFields, ...]:
        return self._moderated.find(collection, action)

    def changes(self, write: Write) -> bool:
        """May rules change what is to be written?"""
        key = (write.collection, write.action)
        return bool(self.find("validate", *key) or self.find("before", *key))

    def touches_reads(self, collection: str, action: Action) -> bool:
        """May rules refuse such a read, or change its answer? Ask for `view` of every expanded collection as well:
        an expanded record counts as a view of it.
        """
        return bool(self.faults or self.find("before", collection, action) or self.find("after", collection, action))

    def redacts(self, operation: Operation, body: bytes) -> bool:
        """Is there anything to do after this answer? PocketBase writes the key of expanded records plainly."""
        if self.find("after", operation.collection, operation.action):
            return True
        return self._redacts_views and b'"expand"' in body

    def unknown_collections(self, known: Iterable[str]) -> frozenset[str]:
        """Collections that rules name and PocketBase does not have: misspelt, or renamed since."""
        names = {name for guard in (*self.rules, *self.moderated) for name in guard.collections}
        return frozenset(names - {EVERY} - {name.casefold() for name in known})
