"""Which of several natsyncs reconciles: decided from the terms that PocketBase holds, and from who is heard.

A term is a row. Whoever begins one deletes those before it in the same transaction, so that one natsync can; and every
write of its holder is in one transaction with a write to that row, so that after the next term has begun there is none.
While a term lasts nothing is written for it: that its holder lives is heard over NATS.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from common.core.messages import Message
from natsync.core.collections.rows import Row


@dataclass(frozen=True, slots=True)
class Term:
    """`id` is the row's. Without a `holder` it has been given back."""

    id: str
    epoch: int
    holder: str


NO_TERM = Term("", 0, "")


class Beat(Message, frozen=True):
    """The holder of a term lives."""

    holder: str
    epoch: int


def to_term(row: Row) -> Term:
    return Term(row["id"], int(row["epoch"]), str(row["holder"]))


def latest(terms: Iterable[Term]) -> Term:
    return max(terms, key=lambda term: term.epoch, default=NO_TERM)


class Candidate:
    """One natsync's view of the others. Times are seconds of a clock that goes on while the machine sleeps.

    Who is not connected to NATS hears nobody, and could publish nothing: it leaves a term alone, unless it has only
    just been started, and then once.
    """

    def __init__(self, silence_seconds: float, now: float) -> None:
        self._silence_seconds = silence_seconds
        self._heard_at = now
        self._epoch = 0
        self._is_connected = False
        self._may_take_unheard = True

    def heard(self, beat: Beat, now: float) -> None:
        if beat.epoch >= self._epoch:
            self._heard_at = now

    def may_take(self, term: Term, now: float, *, is_connected: bool) -> bool:
        """Whether to begin the next term, where `term` is the latest and another's."""
        if term.epoch != self._epoch or (is_connected and not self._is_connected):
            self._epoch, self._heard_at = term.epoch, now
        self._is_connected = is_connected
        self._may_take_unheard = self._may_take_unheard and not is_connected
        if not term.holder:
            return True
        if not is_connected and not self._may_take_unheard:
            self._heard_at = now
            return False
        return now - self._heard_at >= self._silence_seconds

    def taken(self) -> None:
        """It has begun a term of its own."""
        self._may_take_unheard = False
