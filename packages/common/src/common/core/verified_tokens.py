"""Tokens that were verified a moment ago, and those whose bearer has been cut off since. Times are Unix seconds."""

from collections import OrderedDict
from itertools import islice

from common.core.identity import Identity


class VerifiedTokens:
    """Identities by a digest of their token: the tokens themselves are not kept.

    An entry ends with its token, after `max_age_seconds`, or when `max_entries` newer ones have come.
    """

    def __init__(self, *, max_entries: int, max_age_seconds: float) -> None:
        self._entries: OrderedDict[bytes, tuple[float, Identity]] = OrderedDict()
        self._max_entries = max_entries
        self._max_age_seconds = max_age_seconds

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, digest: bytes, now: float) -> Identity | None:
        entry = self._entries.get(digest)
        return entry[1] if entry is not None and now < entry[0] else None

    def put(self, digest: bytes, identity: Identity, *, now: float, leeway_seconds: float = 0) -> None:
        until = min(identity.expires_at + leeway_seconds, now + self._max_age_seconds)
        if until <= now or not self._max_entries:
            return
        self._entries[digest] = (until, identity)
        self._entries.move_to_end(digest)
        while len(self._entries) > self._max_entries or self._oldest_until() <= now:
            self._entries.popitem(last=False)

    def forget_issuer(self, issuer: str) -> None:
        """For when the issuer's keys have changed."""
        gone = [digest for digest, (_, identity) in self._entries.items() if identity.issuer == issuer]
        for digest in gone:
            del self._entries[digest]

    def _oldest_until(self) -> float:
        return next(iter(self._entries.values()))[0]


class Revocations:
    """Sessions and subjects whose tokens are refused though they verify, each until a time of its own.

    Bounded: beyond `max_entries` those that were told first are forgotten, expired ones before all others.
    """

    def __init__(self, *, max_entries: int = 100_000) -> None:
        self._until: dict[tuple[str, str], float] = {}
        self._issued_before: dict[str, float] = {}
        self._max_entries = max_entries

    def __len__(self) -> int:
        return len(self._until)

    def revoke_session(self, session_id: str, *, until: float, now: float) -> None:
        self._add(("sid", session_id), until, now)

    def revoke_subject(self, subject: str, *, issued_before: float, until: float, now: float) -> None:
        """Tokens that do not say when they were issued (`iat`) count as old."""
        self._issued_before[subject] = max(issued_before, self._issued_before.get(subject, issued_before))
        self._add(("sub", subject), until, now)

    def pardon_subject(self, subject: str) -> None:
        self._drop(("sub", subject))

    def covers(self, identity: Identity, now: float) -> bool:
        if identity.session_id and self._until.get(("sid", identity.session_id), now) > now:
            return True
        if self._until.get(("sub", identity.subject), now) <= now:
            return False
        return identity.claims.get("iat", 0) < self._issued_before[identity.subject]

    def _add(self, entry: tuple[str, str], until: float, now: float) -> None:
        self._until[entry] = max(until, self._until.pop(entry, until))
        if len(self._until) > self._max_entries:
            self._make_room(now)

    def _make_room(self, now: float) -> None:
        """A tenth at once, so that looking for expired entries costs little per entry."""
        for entry in [entry for entry, until in self._until.items() if until <= now]:
            self._drop(entry)
        excess = len(self._until) - self._max_entries * 9 // 10
        for entry in list(islice(self._until, max(excess, 0))):
            self._drop(entry)

    def _drop(self, entry: tuple[str, str]) -> None:
        if self._until.pop(entry, None) is not None and entry[0] == "sub":
            del self._issued_before[entry[1]]
