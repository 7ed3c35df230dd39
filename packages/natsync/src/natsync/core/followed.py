"""Which collections the record feed follows: those whose records users can reach. Views have no events of their own."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from common.core.pocketbase_answers import Action
from common.core.record_feed import RecordEvent


@dataclass(frozen=True, slots=True)
class Followed:
    """Collection ids by name."""

    ids: Mapping[str, str]

    @classmethod
    def of(cls, collections: Iterable[Mapping[str, Any]]) -> "Followed":
        return cls(
            {
                str(collection["name"]): str(collection["id"])
                for collection in collections
                if not collection.get("system") and collection.get("type") != "view"
            }
        )

    @property
    def names(self) -> list[str]:
        return sorted(self.ids)

    def event(self, collection: str, id: str, action: Action, *, epoch: str, sequence: int) -> RecordEvent:
        return RecordEvent(
            epoch=epoch,
            sequence=sequence,
            collection=collection,
            collection_id=self.ids[collection],
            id=id,
            action=action,
        )
