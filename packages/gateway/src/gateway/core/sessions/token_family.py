"""Rolling tokens of one session: each has a generation, and only the newest has successors.

A family never forks. A successor is always of the family's newest generation, whoever asks for it, so all who hold a
good token move along one chain, and a token that was superseded longer ago than the grace can only have been copied.
Times are Unix milliseconds. `adapters/sessions.lua` does the same arithmetic inside Valkey; one suite tests both.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

MAX_GRACED = 8
"""Predecessors that may be in their grace at once; while so many are, the newest token is handed out again."""

MAX_GENERATION = 2**53 - 1
"""What a Lua number holds exactly."""

Standing: TypeAlias = Literal["current", "graced", "replayed"]


@dataclass(frozen=True, slots=True)
class Family:
    """`superseded_ms[0]` is when the generation before this one was superseded, then the one before that, and so on."""

    generation: int = 1
    superseded_ms: tuple[int, ...] = ()


def standing(family: Family, generation: int, *, now_ms: int, grace_ms: int) -> Standing:
    """What a token of that generation is worth; `replayed` means that the family must end.

    A generation that is ahead was issued by us, and the store has lost the roll: it counts as current.
    """
    if generation >= family.generation:
        return "current"
    steps = family.generation - generation
    if steps > len(family.superseded_ms):
        return "replayed"
    return "graced" if now_ms - family.superseded_ms[steps - 1] < grace_ms else "replayed"


def succeeded(family: Family, generation: int, *, now_ms: int, grace_ms: int) -> Family:
    """The family once the holder of that generation has got a successor, which is of the family's own generation.

    To be asked for holders that were found current or graced when they came. One that has fallen behind meanwhile
    joins the newest generation instead of making another.
    """
    if generation < family.generation:
        return family
    if generation > family.generation:
        return Family(generation + 1, (now_ms,))
    at_ms = max(now_ms, *family.superseded_ms[:1], 0)
    graced = tuple(then_ms for then_ms in family.superseded_ms if at_ms - then_ms < grace_ms)
    if len(graced) >= MAX_GRACED:
        return family
    return Family(generation + 1, (at_ms, *graced))
