"""What was heard since the last pass. It says where to look, never what is so; but for triggers, which pass away."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from natsync.core.collections.rows import Row
from natsync.core.state.verbs import TRIGGERS

IMAGE_FIELDS = ",".join(
    dict.fromkeys(("id", "updated", "sync_revision", *(name for names in TRIGGERS.values() for name in names)))
)
"""What is heard of a row: enough to see a trigger that somebody's PATCH overwrites in the same moment."""
MOST_IMAGES = 10_000
UNKNOWN = ""
STAMPS = ("updated", "synced_at")


@dataclass(slots=True)
class Hints:
    """`changed` maps collections to ids to when they were updated. `whole`: read everything anew; `servers`: ask them.

    `images` are rows on which a trigger was seen, oldest first.
    """

    whole: bool = False
    servers: bool = False
    changed: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    images: list[tuple[str, Row]] = field(default_factory=list[tuple[str, Row]])

    def note(self, collection: str, row: Row, *, is_deleted: bool = False) -> None:
        updated = UNKNOWN if is_deleted else str(row.get("updated") or UNKNOWN)
        self.changed.setdefault(collection, {})[row["id"]] = updated
        if any(row.get(name) for name in TRIGGERS.get(collection, ())) and len(self.images) < MOST_IMAGES:
            self.images.append((collection, row))

    def taken(self) -> "Hints":
        """All that was noted; nothing is left here."""
        taken = Hints(self.whole, self.servers, self.changed, self.images)
        self.whole, self.servers, self.changed, self.images = False, False, {}, []
        return taken

    def put_back(self, other: "Hints") -> None:
        """What a pass that failed had taken."""
        self.whole = True
        self.images = [*other.images, *self.images][:MOST_IMAGES]

    @property
    def is_empty(self) -> bool:
        return not (self.whole or self.servers or self.changed or self.images)


def news(changed: Mapping[str, Mapping[str, str]], rows: Mapping[str, Mapping[str, Row]]) -> dict[str, set[str]]:
    """Ids of rows that are not known as they stand now: of what natsync itself wrote it has heard before."""
    found: dict[str, set[str]] = {}
    for collection, ids in changed.items():
        known = rows.get(collection, {})
        unknown = {id for id, updated in ids.items() if updated == UNKNOWN or stamp(known.get(id)) != updated}
        if unknown:
            found[collection] = unknown
    return found


def stamp(row: Row | None) -> str | None:
    return str(row.get("updated")) if row else None


def is_edited(before: Row | None, after: Row, written: Collection[str]) -> bool:
    """Has somebody else changed the row between the reading and our own writing of `written`?

    Then what was read is to be held on to: the row as it is now would make the other's change no news.
    """
    ours = {*written, *STAMPS}
    return before is not None and any(after.get(name) != value for name, value in before.items() if name not in ours)
