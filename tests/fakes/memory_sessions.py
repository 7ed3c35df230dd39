"""The session store in memory, by the same arithmetic as the one in Valkey."""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace

from common.core.notices import SessionRevoked
from gateway.adapters.valkey_sessions import USE_INTERVAL_MS
from gateway.core.refusals import Banned
from gateway.core.sessions.notices import Hearer
from gateway.core.sessions.session import EndReason, Held, NewSession, Owner, Presented, Session, Use
from gateway.core.sessions.token_family import Family, standing, succeeded


@dataclass(slots=True)
class Stored:
    session: Session
    token: str
    family: Family
    claimed_ms: int = 0


def held(stored: Stored) -> Held:
    return Held(stored.session.id, stored.session.owner, stored.token, stored.session.address)


class MemorySessions:
    def __init__(
        self, *, grace_seconds: float, max_sessions: int, clock_ms: Callable[[], int], hearers: Sequence[Hearer] = ()
    ) -> None:
        self._grace_ms = round(grace_seconds * 1000)
        self._max_sessions = max_sessions
        self._clock_ms = clock_ms
        self._hearers = hearers
        self._stored: dict[str, Stored] = {}
        self._bans: dict[tuple[str, str], int] = {}

    async def begin(self, session: NewSession) -> list[str]:
        if self._is_banned(session.owner):
            raise Banned
        older = [stored.session.id for stored in self._of(session.owner)]
        ended = older[: max(len(older) + 1 - self._max_sessions, 0)]
        for id in ended:
            self._finish(id, "too many sessions")
        now_ms = self._clock_ms()
        kept = Session(
            session.id, session.owner, session.device, session.address, now_ms, now_ms, session.expires_at * 1000
        )
        self._stored[session.id] = Stored(kept, session.pocketbase_token, Family())
        return ended

    async def present(self, session_id: str, generation: int) -> Presented:
        if (stored := self._living(session_id)) is None:
            return Presented("ended")
        told = standing(stored.family, generation, now_ms=self._clock_ms(), grace_ms=self._grace_ms)
        if told == "replayed":
            self._finish(session_id, "replayed")
            return Presented(told, newest=stored.family.generation)
        return Presented(told, stored.token, stored.family.generation)

    async def succeed(self, session_id: str, generation: int, token: str | None, expires_at: int) -> int | None:
        if (stored := self._living(session_id)) is None:
            return None
        stored.family = succeeded(stored.family, generation, now_ms=self._clock_ms(), grace_ms=self._grace_ms)
        if token and expires_at * 1000 >= stored.session.expires_ms:
            stored.token, stored.session = token, replace(stored.session, expires_ms=expires_at * 1000)
        return stored.family.generation

    async def end(self, session_id: str, reason: EndReason, owner: Owner | None = None) -> Owner | None:
        stored = self._living(session_id)
        if stored is None or owner not in (None, stored.session.owner):
            return None
        self._finish(session_id, reason)
        return stored.session.owner

    async def end_all(self, owner: Owner, reason: EndReason, *, keep: str = "") -> list[str]:
        ended = [stored.session.id for stored in self._of(owner) if stored.session.id != keep]
        for id in ended:
            self._finish(id, reason)
        return ended

    async def of(self, owner: Owner) -> list[Session]:
        return [stored.session for stored in reversed(self._of(owner))]

    async def held_by(self, owner: Owner) -> list[Held]:
        return [held(stored) for stored in reversed(self._of(owner))]

    async def records(self) -> AsyncGenerator[str]:
        for record_id in {stored.session.owner.record_id for stored in self._stored.values()}:
            yield record_id

    async def now_ms(self) -> int:
        return self._clock_ms()

    async def claim(self, record_id: str, since_ms: int) -> list[Held]:
        found = [
            stored
            for id, stored in self._stored.items()
            if stored.session.owner.record_id == record_id and stored.claimed_ms < since_ms and self._living(id)
        ]
        for stored in found:
            stored.claimed_ms = self._clock_ms()
        return [held(stored) for stored in found]

    async def note(self, uses: Sequence[Use]) -> None:
        for use in uses:
            stored = self._living(use.session_id)
            if stored and use.used_ms - stored.session.used_ms >= USE_INTERVAL_MS:
                stored.session = replace(stored.session, used_ms=use.used_ms, address=use.address)

    async def ban(self, record_id: str, collection_id: str, until: int) -> list[str] | None:
        if self._bans.get((record_id, collection_id)) == until * 1000:
            return None
        self._bans[record_id, collection_id] = until * 1000
        banned = [
            id
            for id, stored in self._stored.items()
            if stored.session.owner.record_id == record_id
            and collection_id in ("", stored.session.owner.collection_id)
            and self._living(id)
        ]
        for id in banned:
            self._finish(id, "banned")
        return banned

    async def pardon(self, record_id: str, collection_id: str) -> bool:
        lifted = [key for key in self._bans if key[0] == record_id and collection_id in ("", key[1])]
        lifted += [key for key in self._bans if key == (record_id, "") and key not in lifted]
        for key in lifted:
            del self._bans[key]
        return bool(lifted)

    def _is_banned(self, owner: Owner) -> bool:
        ends = [self._bans.get((owner.record_id, collection)) for collection in ("", owner.collection_id)]
        return any(end is not None and (end == 0 or self._clock_ms() < end) for end in ends)

    def _living(self, session_id: str) -> Stored | None:
        stored = self._stored.get(session_id)
        return stored if stored and self._clock_ms() < stored.session.expires_ms else None

    def _of(self, owner: Owner) -> list[Stored]:
        return [stored for id, stored in self._stored.items() if stored.session.owner == owner and self._living(id)]

    def _finish(self, session_id: str, reason: EndReason) -> None:
        owner = self._stored.pop(session_id).session.owner
        notice = SessionRevoked(
            session_id=session_id, collection_id=owner.collection_id, record_id=owner.record_id, reason=reason
        )
        for hearer in self._hearers:
            hearer.heard(notice)
