"""A figure beside its peer's, both taken in one run."""

import re
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

Timed: TypeAlias = Callable[[], Awaitable[float]]
"""Does its work once and returns the figure: operations a second, or seconds an operation."""

ROUNDS = 7
_BAR = re.compile(r"(?P<of>value )?(?P<side>>=|<=) (?P<bound>[\d.]+)")


@dataclass(frozen=True, slots=True)
class Metric:
    """`ratio` is ours divided by the peer's, the median of the rounds; `bar` is what it has to reach,
    or, where it begins with `value`, what the value has to."""

    name: str
    value: float
    unit: str
    peer: str
    peer_value: float
    ratio: float
    bar: str = ""

    def meets_its_bar(self) -> bool | None:
        """None where there is no bar."""
        parts = _BAR.match(self.bar)
        if parts is None:
            return None
        figure, bound = self.value if parts["of"] else self.ratio, float(parts["bound"])
        return figure >= bound if parts["side"] == ">=" else figure <= bound


async def side_by_side(ours: Timed, peer: Timed, *, rounds: int = ROUNDS) -> tuple[float, float, float]:
    """Ours, the peer's and the ratio, as medians of rounds in which each takes its turn.

    Machines are noisy: what disturbs one half of a round tends to disturb the other, so ratios are taken by round.
    """
    await ours()
    await peer()
    figures = [(await ours(), await peer()) for _ in range(rounds)]
    return (
        statistics.median(mine for mine, _ in figures),
        statistics.median(theirs for _, theirs in figures),
        statistics.median(mine / theirs for mine, theirs in figures),
    )
