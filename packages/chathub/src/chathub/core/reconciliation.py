"""Whether PostgreSQL holds exactly what the log says it should: each message once, under its last wording."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import msgspec

from chathub.core.bus_messages import Amendment, Position, RoomMessage, Stored

SHOWN = 20
"""Sequences that are named of each kind; the rest is only counted."""


class Unread(NamedTuple):
    """An entry of the log that is no message of ours."""

    position: Position


Entry: TypeAlias = Stored | Unread


class Row(NamedTuple):
    sequence: int
    message: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What PostgreSQL has of a stretch of the log."""

    rows: Sequence[Row]
    dead_letters: frozenset[int]
    amended: dict[int, str | None]
    """By target: its last wording, None once it is deleted."""
    purged_channels: frozenset[int]


class Findings(msgspec.Struct):
    """`missing`: acknowledged and not stored. `unexpected`: stored and not in the log, nor accounted for. `different`:
    stored with another text. `waiting`: not yet handed out to be stored, or not confirmed."""

    entries: int = 0
    rows: int = 0
    set_aside: int = 0
    deleted: int = 0
    waiting: int = 0
    missing: list[int] = msgspec.field(default_factory=list[int])
    unexpected: list[int] = msgspec.field(default_factory=list[int])
    different: list[int] = msgspec.field(default_factory=list[int])

    def is_proof(self) -> bool:
        return not (self.missing or self.unexpected or self.different)


def compare(entries: Iterable[Entry], kept: Kept, *, stored_to: int) -> Findings:
    """`stored_to` is up to where everything in the log has been confirmed as stored."""
    found = Findings()
    rows = {row.sequence: row.message for row in kept.rows}
    found.rows = len(rows)
    found.unexpected += sorted(set(rows) & {target for target, text in kept.amended.items() if text is None})
    wordings = dict(rows)
    for entry in entries:
        found.entries += 1
        sequence = entry.position.sequence
        text = wordings.pop(sequence, None)
        _judge(found, entry, text, kept, waiting=sequence > stored_to)
    found.unexpected += [sequence for sequence in wordings if sequence not in found.unexpected]
    return found


def _judge(found: Findings, entry: Entry, text: str | None, kept: Kept, *, waiting: bool) -> None:
    sequence = entry.position.sequence
    if sequence in kept.dead_letters:
        found.set_aside += 1
    elif isinstance(entry, Stored) and _is_gone(entry, kept):
        found.deleted += 1
    elif isinstance(entry, Stored) and isinstance(entry.message, Amendment):
        _judge_amendment(found, entry.message, sequence, kept, waiting=waiting)
    elif text is None and waiting:
        found.waiting += 1
    elif text is None or isinstance(entry, Unread):
        found.missing.append(sequence)
    elif text != (kept.amended.get(sequence) or entry.message.message):
        found.different.append(sequence)


def _judge_amendment(found: Findings, amendment: Amendment, sequence: int, kept: Kept, *, waiting: bool) -> None:
    if amendment.target in kept.amended:
        return
    if waiting:
        found.waiting += 1
    else:
        found.missing.append(sequence)


def _is_gone(stored: Stored, kept: Kept) -> bool:
    message = stored.message
    if isinstance(message, RoomMessage) and message.channel_id in kept.purged_channels:
        return True
    return stored.position.sequence in kept.amended and kept.amended[stored.position.sequence] is None


def added(total: Findings, part: Findings) -> Findings:
    return Findings(
        entries=total.entries + part.entries,
        rows=total.rows + part.rows,
        set_aside=total.set_aside + part.set_aside,
        deleted=total.deleted + part.deleted,
        waiting=total.waiting + part.waiting,
        missing=total.missing + part.missing,
        unexpected=total.unexpected + part.unexpected,
        different=total.different + part.different,
    )


def told(found: Findings) -> str:
    counts = ("entries", "rows", "set_aside", "deleted", "waiting")
    lines = [f"{name.replace('_', ' '):<11}{getattr(found, name)}" for name in counts]
    for name in ("missing", "unexpected", "different"):
        places: list[int] = getattr(found, name)
        shown = ", ".join(str(place) for place in places[:SHOWN])
        lines.append(f"{name:<11}{len(places)}{f' ({shown})' if places else ''}")
    return "\n".join(lines)
