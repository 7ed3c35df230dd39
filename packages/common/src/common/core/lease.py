"""Who holds a lease: one process's view of a register that all candidates compare and set. Decides; never waits.

A lease is one key. Its holder writes it again and again; whoever wants it watches for the key to stand still. Nobody
trusts another's clock, and no wall clock at all:

- A holder counts from the moment *before* it sent the write that made or renewed its claim, and gives up
  `margin_seconds` early.
- A candidate counts from the moment *after* it had read a claim, waits its whole time, and replaces it only if no
  write has come between, by compare-and-set on the revision.

So the holder has given up before a candidate's write can succeed, as long as no clock runs faster than another by more
than `margin_seconds` in `ttl_seconds`. A holder that is stopped in between cannot know it; that is what `epoch` is for:
it grows with every change of hands, and what is written under a smaller one than was seen before is refused.
"""

from dataclasses import dataclass
from math import inf
from typing import TypeAlias

from common.core.errors import InvalidRequest
from common.core.messages import Message

REVISIONS = 2**32
"""Epochs of a register that was made anew lie above those of the one before: its birth counts before its revisions."""
BIRTH_OF_EPOCHS = 1_704_067_200
"""2024-01-01 in Unix seconds, so that epochs fit into 63 bits for as long as anyone will care."""

LONGEST_SECONDS = 60.0
RETRY_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Terms:
    """After `ttl_seconds` without a renewal a lease is free; a holder renews every `renew_seconds`.

    With these a lease whose holder died is held again within 4 s. Raises InvalidRequest for times that do not fit.
    """

    ttl_seconds: float = 3.0
    renew_seconds: float = 1.0
    margin_seconds: float = 0.5
    look_seconds: float = 0.5
    """How often a candidate looks, beside being told of changes."""

    def __post_init__(self) -> None:
        if not self.ttl_seconds <= LONGEST_SECONDS:
            raise InvalidRequest(f"`ttl_seconds` has to be at most {LONGEST_SECONDS:g}.")
        if not 0 < self.margin_seconds < self.ttl_seconds or not self.look_seconds > 0:
            raise InvalidRequest("`margin_seconds` has to be below `ttl_seconds`, and `look_seconds` above 0.")
        if not 0 < self.renew_seconds < self.ttl_seconds - self.margin_seconds:
            raise InvalidRequest("`renew_seconds` has to be below `ttl_seconds` less `margin_seconds`.")


class Claim(Message, frozen=True):
    """What stands under the key of a lease."""

    holder: str
    ttl_ms: int


UNREADABLE = Claim(holder="", ttl_ms=round(LONGEST_SECONDS * 1000))
"""Stands for a claim that cannot be read, perhaps of a later version: it is respected for as long as it may last."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The key as it was read: `claim` is None when there is none, and `revision` 0 when there never was."""

    claim: Claim | None
    revision: int


@dataclass(frozen=True, slots=True)
class Look:
    """Read the key."""


@dataclass(frozen=True, slots=True)
class Write:
    """Compare and set: our claim, where `revision` is the last one."""

    revision: int


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do before `until`."""

    until: float


Step: TypeAlias = Look | Write | Rest


class Candidate:
    """Times are seconds of one clock of this process that never goes back; `me` is unique to this candidacy."""

    def __init__(self, me: str, terms: Terms) -> None:
        self.me = me
        self.terms = terms
        self.epoch_revision = 0
        """The revision that made us holder: with it each change of hands is told from the next."""
        self._holds_until: float | None = None
        self._renew_at = 0.0
        self._mine: int | None = None
        self._seen: Seen | None = None
        self._seen_at = 0.0
        self._look_at = -inf

    def holds(self, now: float) -> bool:
        return self._holds_until is not None and now < self._holds_until

    @property
    def holds_until(self) -> float:
        """Past this we hold nothing, whatever comes of the write that is under way."""
        return self._holds_until if self._holds_until is not None else 0.0

    def next(self, now: float) -> Step:
        if self.holds(now):
            return self._next_of_holder(now)
        self._lapse()
        return self._next_of_candidate(now)

    def claim(self) -> Claim:
        return Claim(holder=self.me, ttl_ms=round(self.terms.ttl_seconds * 1000))

    def looked(self, seen: Seen, now: float) -> None:
        """`now` is when the answer was here."""
        ours = seen.claim is not None and seen.claim.holder == self.me
        if self.holds(now) and not ours:
            self._lapse()
        self._mine = seen.revision if ours else None
        if self._seen is None or self._seen.revision != seen.revision:
            self._seen, self._seen_at = seen, now
        self._look_at = now + self.terms.look_seconds

    def written(self, revision: int, sent_at: float, now: float) -> None:
        """Our write was done under `revision`; `sent_at` is from before it was sent."""
        if not self.holds(now):
            self.epoch_revision = revision
        self._mine = revision
        self._holds_until = sent_at + self.terms.ttl_seconds - self.terms.margin_seconds
        self._renew_at = sent_at + self.terms.renew_seconds

    def refused(self, now: float) -> None:
        """Another revision is the last: of another candidate, or of a write of ours whose outcome we did not learn."""
        self._mine = None
        self._look_at = now

    def unknown(self, now: float) -> None:
        """We did not learn what became of a write or a look: look again, soon."""
        self._mine = None
        self._look_at = now + RETRY_SECONDS

    def released(self) -> int | None:
        """Hold nothing from now on; the revision that may be deleted so that others need not wait, if it is known."""
        mine, self._mine = self._mine, None
        self._lapse()
        return mine

    def changed(self, now: float) -> None:
        """Something was written under the key: worth a look at once, unless it is known to be ours."""
        if not self.holds(now):
            self._look_at = now

    def _next_of_holder(self, now: float) -> Step:
        if self._mine is None:
            return Look() if now >= self._look_at else Rest(self._look_at)
        return Write(self._mine) if now >= self._renew_at else Rest(self._renew_at)

    def _next_of_candidate(self, now: float) -> Step:
        if now >= self._look_at:
            return Look()
        if self._seen is None:
            return Rest(self._look_at)
        free_at = self._free_at()
        if now >= free_at:
            return Write(self._seen.revision)
        return Rest(min(free_at, self._look_at))

    def _free_at(self) -> float:
        """When the claim that was seen may be replaced. Our own may at once: we know that nobody works under it."""
        assert self._seen is not None  # noqa: S101 - asked only when something was seen
        claim = self._seen.claim
        if claim is None or claim.holder == self.me:
            return self._seen_at
        return self._seen_at + min(max(claim.ttl_ms / 1000, self.terms.ttl_seconds), LONGEST_SECONDS)

    def _lapse(self) -> None:
        self._holds_until = None


def epoch_of(born: float, revision: int) -> int:
    """Grows with `revision`, and from one register to the next, which was `born` later (Unix seconds)."""
    return max(int(born) - BIRTH_OF_EPOCHS, 0) * REVISIONS + revision
