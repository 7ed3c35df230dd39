"""What went wrong with rules lately, for the operator: by place and kind, without what was in the requests."""

from collections import OrderedDict
from dataclasses import dataclass

from gateway.core.rule_files.rule_set import Place

MAX_ENTRIES = 100


@dataclass(slots=True)
class Failure:
    """`place` is where it happened, as far as that is known; times are Unix seconds."""

    rule: str
    place: Place
    kind: str
    count: int
    last_at: float


class Journal:
    """The failures that were not seen for longest make room for new ones."""

    def __init__(self) -> None:
        self._failures: OrderedDict[tuple[str, Place, str], Failure] = OrderedDict()

    def note(self, rule: str, place: Place, kind: str, *, now: float) -> None:
        key = (rule, place, kind)
        failure = self._failures.setdefault(key, Failure(rule, place, kind, 0, now))
        failure.count += 1
        failure.last_at = now
        self._failures.move_to_end(key)
        if len(self._failures) > MAX_ENTRIES:
            self._failures.popitem(last=False)

    @property
    def failures(self) -> list[Failure]:
        """The latest first."""
        return list(reversed(self._failures.values()))
