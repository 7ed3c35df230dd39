"""Who moderated what. Each entry is sealed together with the one before it: none can be changed, put in or taken out
without all that follow, and whoever has noted a later seal sees that.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeAlias

Action: TypeAlias = Literal[
    "user.banned",
    "user.pardoned",
    "user.purged",
    "message.deleted",
    "channel.created",
    "channel.changed",
    "channel.deleted",
    "channel.exported",
    "member.added",
    "member.removed",
    "limit.changed",
]

Detail: TypeAlias = str | int | bool | None

UNSEALED = bytes(32)
"""What stands in the place of a seal before the first entry."""


@dataclass(frozen=True, slots=True)
class Deed:
    """`subject` is the id of the user, message, channel or limit that it was done to."""

    actor_id: str
    action: Action
    subject: str
    details: Mapping[str, Detail] = field(default_factory=dict[str, Detail])


@dataclass(frozen=True, slots=True)
class Entry:
    id: int
    at: datetime
    deed: Deed
    seal: bytes


def sealed(previous: bytes, id: int, at: datetime, deed: Deed) -> Entry:
    told = [id, at.astimezone(UTC).isoformat(timespec="microseconds"), deed.actor_id, deed.action, deed.subject]
    text = json.dumps([*told, dict(deed.details)], sort_keys=True, separators=(",", ":"))
    return Entry(id, at, deed, hashlib.sha256(previous + text.encode()).digest())


def first_broken(entries: Iterable[Entry], previous: bytes = UNSEALED, expected: int = 1) -> int | None:
    """The number of the first entry that is not what was sealed, or is missing; None if all are there as they were."""
    for entry in entries:
        if entry.id != expected or sealed(previous, entry.id, entry.at, entry.deed).seal != entry.seal:
            return expected
        previous, expected = entry.seal, expected + 1
    return None
