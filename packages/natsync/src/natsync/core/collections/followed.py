"""Which collections the record feed follows, and what it says of their records. Views have no events of their own."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from common.core.pocketbase_answers import Action, Record
from common.core.record_feed import RecordEvent, RecordImage
from natsync.core.collections.collection_names import CollectionNames
from natsync.core.collections.schema import SPECS

OWN = frozenset(spec.name for spec in SPECS)


@dataclass(frozen=True, slots=True)
class Followed:
    """Collection ids by name. natsync's own hold keys and credentials, which go into no message: they are `secret`."""

    ids: Mapping[str, str]
    secret: frozenset[str]

    @classmethod
    def of(cls, collections: Iterable[Mapping[str, Any]], names: CollectionNames) -> "Followed":
        """`names` are what the collections are called there."""
        ids = {
            str(collection["name"]): str(collection["id"])
            for collection in collections
            if not collection.get("system") and collection.get("type") != "view"
        }
        return cls(ids, OWN.union(names.outward.values()))

    @property
    def names(self) -> list[str]:
        return sorted(self.ids)

    @property
    def shown(self) -> list[str]:
        """Collections whose records are told whole."""
        return sorted(self.ids.keys() - self.secret)

    @property
    def secret_ids(self) -> tuple[str, ...]:
        return tuple(sorted(self.ids[name] for name in self.ids.keys() & self.secret))

    def event(self, collection: str, id: str, action: Action, *, epoch: str, sequence: int) -> RecordEvent:
        return RecordEvent(
            epoch=epoch,
            sequence=sequence,
            collection=collection,
            collection_id=self.ids[collection],
            id=id,
            action=action,
        )

    def image(self, event: RecordEvent, record: Record) -> RecordImage:
        """What goes beside the event, under its number."""
        is_secret = event.collection in self.secret
        return RecordImage(
            epoch=event.epoch,
            sequence=event.sequence,
            collection=event.collection,
            collection_id=event.collection_id,
            id=event.id,
            action=event.action,
            record=None if is_secret else record,
            left_out="secret" if is_secret else "",
        )
