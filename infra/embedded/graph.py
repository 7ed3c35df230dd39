"""What the platform consists of, and the arithmetic of restarting. Nothing is started here."""

import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

FIRST_DELAY_SECONDS = 0.25
LONGEST_DELAY_SECONDS = 15.0
STABLE_SECONDS = 30.0

Probe: TypeAlias = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Part:
    """A process that is kept running.

    `refuses_with` is the exit code by which it says that its settings are not acceptable: starting it again would
    not help, so the platform stops and passes on its last words.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    is_ready: Probe
    needs: tuple[str, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    refuses_with: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """Something done once at every start, before what needs it. Must be harmless when it was done before."""

    name: str
    run: Callable[[], Awaitable[None]]
    needs: tuple[str, ...] = ()


class StepFailed(Exception):
    """A step did not succeed, so the platform cannot start; the message is for the person who started it."""


@dataclass(slots=True)
class Deaths:
    """Counts a part's deaths in a row; a part that held for a while starts anew."""

    in_a_row: int = field(default=0)

    def next_delay(self, lived_seconds: float) -> float:
        """Seconds to wait before the next start, given how long the part has lived."""
        self.in_a_row = 1 if lived_seconds >= STABLE_SECONDS else self.in_a_row + 1
        return min(FIRST_DELAY_SECONDS * 2 ** (self.in_a_row - 1), LONGEST_DELAY_SECONDS)


def stop_waves(parts: Sequence[Part], steps: Sequence[Step]) -> list[list[str]]:
    """The parts in the order to stop them: a wave is what no part of a later wave needs any more."""
    needs = {node.name: set(node.needs) for node in [*parts, *steps]}
    remaining = {part.name for part in parts}
    waves: list[list[str]] = []
    while remaining:
        needed = {other for name in remaining for other in reachable(name, needs)}
        wave = sorted(remaining - needed) or sorted(remaining)
        waves.append(wave)
        remaining -= set(wave)
    return waves


def reachable(name: str, needs: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    frontier = [name]
    while frontier:
        for other in needs.get(frontier.pop(), set()) - found:
            found.add(other)
            frontier.append(other)
    return found
