"""Clients who are told the same: those of one topic whose rule comes to the same for all of them.

An event is decided once for a group. Where a rule compares a field of the record with a value of the caller's, as those
of owners do, only the groups of that very value are looked at, however many there are.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

from gateway.core.realtime.audience import View

MOST_TOLD = 200_000
"""Records of which it is remembered, for those who want to know when they leave, that they were there; of all groups
together, so that nobody makes it more by asking in many ways."""
SEVERAL = object()
"""In place of a list or an object, which a field of one value bears once its collection was changed: equal to nothing
that is compared."""
LEFT = ("id", "collectionId", "collectionName")

M = TypeVar("M")
Key: TypeAlias = tuple[Any, ...]
Place: TypeAlias = tuple[str, str]
Told: TypeAlias = tuple["Group[Any]", str]


class Group(Generic[M]):
    """`caller` holds what the rule reads of the record of each of them."""

    __slots__ = ("_told", "caller", "key", "members", "topic", "view")

    def __init__(
        self, key: Key, topic: str, view: View, caller: Mapping[str, Any], *, members: M, told: dict[Told, None]
    ) -> None:
        self.key = key
        self.topic = topic
        self.view = view
        self.caller = caller
        self.members = members
        self._told = told

    def data(self, action: str, record: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """What is told of it: the action and the record as it is shown; None: nothing."""
        id = str(record.get("id"))
        shown = self.view.shown(record, self.caller)
        if not self.view.wants_leave:
            return None if shown is None else (action, shown)
        was_told = self._told.pop((self, id), "") is None
        if shown is None:
            return ("leave", {name: record[name] for name in LEFT if name in record}) if was_told else None
        if action != "delete":
            self.note(id)
        return action, shown

    def note(self, id: str) -> None:
        """Its members know that record."""
        if not self.view.wants_leave:
            return
        if len(self._told) >= MOST_TOLD:
            del self._told[next(iter(self._told))]
        self._told[self, id] = None


def scalar(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float) else SEVERAL


def place_of(value: Any) -> Any:
    return scalar(value) or ""


class _Place(Generic[M]):
    def __init__(self) -> None:
        self.plain: dict[Key, Group[M]] = {}
        self.pinned: dict[str, dict[Any, dict[Key, Group[M]]]] = {}

    def shelf(self, view: View, caller: Mapping[str, Any]) -> dict[Key, Group[M]]:
        if view.pin is None:
            return self.plain
        field, auth = view.pin
        return self.pinned.setdefault(field, {}).setdefault(place_of(caller.get(auth)), {})

    def tidy(self, view: View, caller: Mapping[str, Any]) -> None:
        if view.pin is None:
            return
        field, auth = view.pin
        if not self.pinned[field][place_of(caller.get(auth))]:
            del self.pinned[field][place_of(caller.get(auth))]
        if not self.pinned[field]:
            del self.pinned[field]

    def concerned(self, record: Mapping[str, Any]) -> Iterator[Group[M]]:
        yield from self.plain.values()
        for field, shelves in self.pinned.items():
            yield from shelves.get(place_of(record.get(field)), {}).values()

    @property
    def is_empty(self) -> bool:
        return not self.plain and not self.pinned


class Groups(Generic[M]):
    def __init__(self, no_members: Callable[[], M]) -> None:
        self._no_members = no_members
        self._places: dict[Place, _Place[M]] = {}
        self._told: dict[Told, None] = {}

    def group(self, topic: str, view: View, caller: Mapping[str, Any]) -> Group[M]:
        """The one that such a caller belongs to; made if there is none, and to be dropped with its last member."""
        values = {name: scalar(caller.get(name)) for name in sorted(view.reads)}
        key = (topic, view.asker.id if view.asker else "", *values.values())
        shelf = self._places.setdefault((view.collection.id, view.target), _Place()).shelf(view, values)
        if (found := shelf.get(key)) is None:
            found = shelf[key] = Group(key, topic, view, values, members=self._no_members(), told=self._told)
        return found

    def drop(self, group: Group[M]) -> None:
        name = (group.view.collection.id, group.view.target)
        place = self._places[name]
        place.shelf(group.view, group.caller).pop(group.key, None)
        place.tidy(group.view, group.caller)
        if place.is_empty:
            del self._places[name]

    def concerned(self, collection_id: str, targets: tuple[str, ...], record: Mapping[str, Any]) -> list[Group[M]]:
        """Those whose rule may allow the record."""
        places = (self._places.get((collection_id, target)) for target in targets)
        return [group for place in places if place for group in place.concerned(record)]

    def clear(self) -> None:
        self._places.clear()
