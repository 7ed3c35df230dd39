"""Ours beside the peers', turn by turn, over one and the same wire."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from bench.gateway.load import CONNECTIONS, Target, Turn, turn
from bench.metric import ROUNDS, Metric

Figure: TypeAlias = Literal["requests_a_second", "p50_ms", "p99_ms", "cpu_us_a_request"]

UNITS: Mapping[Figure, str] = {
    "requests_a_second": "requests/s",
    "p50_ms": "ms, p50",
    "p99_ms": "ms, p99",
    "cpu_us_a_request": "us of CPU a request",
}


@dataclass(frozen=True, slots=True)
class Turns:
    """What each did, by name, in the order of the rounds."""

    of: Mapping[str, Sequence[Turn]]
    connections: int

    def metric(self, name: str, peer: str, figure: Figure = "requests_a_second", bar: str = "") -> Metric:
        """Medians over the rounds; what disturbs one turn tends to disturb the next, so ratios are taken by round."""
        mine, theirs = ([getattr(turn, figure) for turn in self.of[who]] for who in ("gateway", peer))
        ratios = [ours / other for ours, other in zip(mine, theirs, strict=True)]
        at = f"{peer}, {self.connections} connection{'s' if self.connections > 1 else ''}"
        middle = statistics.median
        return Metric(name, middle(mine), UNITS[figure], at, middle(theirs), middle(ratios), bar)


async def taken_in_turns(*targets: Target, connections: int = CONNECTIONS) -> Turns:
    """One round to warm up, then rounds in which each takes its turn."""
    of: dict[str, list[Turn]] = {target.name: [] for target in targets}
    for number in range(-1, ROUNDS):
        for target in targets:
            figures = await turn(target, connections=connections)
            if number >= 0:
                of[target.name].append(figures)
    return Turns(of, connections)
