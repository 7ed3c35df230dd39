"""How it went with code that ran aside."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What was returned, or what was raised, whatever that is: SystemExit among it."""

    value: T | None = None
    error: BaseException | None = None


class Overdue(Exception):
    """The deadline has passed. `has_begun` is false for code that never got its turn."""

    def __init__(self, *, has_begun: bool) -> None:
        super().__init__("begun" if has_begun else "never begun")
        self.has_begun = has_begun


class Crowded(Exception):
    """So much is running or hanging already that nothing more is begun."""


class GivenUp(BaseException):
    """Raised inside a thread whose time is up, wherever it is."""
