"""Ends sessions, for whatever reason, and says so: to the audit log, and to the services that must know.

The gateway's own processes hear of every ending from the store that made it.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from common.core.errors import UpstreamUnavailable
from common.core.notices import Notice, SessionRevoked, UserBanned, UserPardoned
from gateway.core.sessions.account_change import Doubtful, Ended
from gateway.core.sessions.notices import Hearer
from gateway.core.sessions.principal import Principal
from gateway.core.sessions.session import EndReason, Held, Owner
from gateway.sessions.ask_pocketbase import Asking

audit = structlog.get_logger("gateway.audit")

TELL_SECONDS = 1.0
RETRY_SECONDS = 0.2
MOST_OWED = 10_000
BUSY = "PocketBase wants to be asked later."


class EndingStore(Protocol):
    """Every method raises UpstreamUnavailable when the store is away."""

    async def end(self, session_id: str, reason: EndReason, owner: Owner | None = None) -> Owner | None: ...
    async def end_all(self, owner: Owner, reason: EndReason, *, keep: str = "") -> list[str]: ...
    async def held_by(self, owner: Owner) -> list[Held]: ...
    async def ban(self, record_id: str, collection_id: str, until: int) -> list[str] | None: ...
    async def pardon(self, record_id: str, collection_id: str) -> bool: ...


class Outward(Protocol):
    """The way to the other services."""

    async def publish(self, notice: Notice) -> None:
        """Raises UpstreamUnavailable."""
        ...


class Nobody:
    """The outward side of a gateway that is alone."""

    async def publish(self, notice: Notice) -> None:
        pass


class Endings:
    def __init__(self, store: EndingStore, asking: Asking, outward: Outward) -> None:
        self._store = store
        self._asking = asking
        self._outward = outward
        self._hearers: list[Hearer] = []
        self._owed: asyncio.Queue[Ended | Doubtful] = asyncio.Queue(MOST_OWED)

    def also_tell(self, hearer: Hearer) -> None:
        """Of what ends here: whoever ended a session in this process is not to meet it again an instant later."""
        self._hearers.append(hearer)

    async def end(self, session_id: str, reason: EndReason, owner: Owner | None = None) -> bool:
        """False when there is no such session, or none of that owner."""
        ended = await self._store.end(session_id, reason, owner)
        if ended:
            await self.tell([session_id], ended, reason)
        return ended is not None

    async def end_sessions_of(self, owner: Owner, reason: EndReason, *, keep: str = "") -> int:
        """How many there were. To be called for a record whose credentials changed, or which is gone."""
        ended = await self._store.end_all(owner, reason, keep=keep)
        await self.tell(ended, owner, reason)
        return len(ended)

    async def recheck(self, owner: Owner, *, keep: str = "") -> int:
        """End those of the record's sessions whose token PocketBase does not take any more; how many there were.

        To be called when the record has changed in a way that may have ended its tokens. Where PocketBase is away, the
        session ends. Raises UpstreamUnavailable when it wants to be asked later.
        """
        others = [held for held in await self._store.held_by(owner) if held.session_id != keep]
        words = [(held, await self._asking.ask(held)) for held in others]
        refused = [held for held, word in words if word in ("refused", "away")]
        for held in refused:
            await self.refused(held)
        if any(word == "busy" for _, word in words):
            raise UpstreamUnavailable(BUSY)
        return len(refused)

    async def refused(self, held: Held) -> None:
        """PocketBase does not take the session's token."""
        await self.end(held.session_id, "refused by PocketBase", held.owner)

    async def follow(self, changes: Sequence[Ended | Doubtful], *, keep: str = "") -> None:
        """To be called with `account_changes` before a call that PocketBase carried out is answered.

        What cannot be done now is owed, and `run` does it later: the call has succeeded all the same, and while the
        store is away nobody is let in.
        """
        for change in changes:
            try:
                await self._follow(change, keep)
            except UpstreamUnavailable:
                self._owe(change)

    async def run(self) -> None:
        """Pays what is owed. Must run beside the server."""
        while True:
            change = await self._owed.get()
            await asyncio.sleep(RETRY_SECONDS)
            await self.follow([change])

    async def _follow(self, change: Ended | Doubtful, keep: str) -> None:
        match change:
            case Ended(owner, reason):
                await self.end_sessions_of(owner, reason, keep=keep)
            case Doubtful(owner):
                await self.recheck(owner, keep=keep)

    def _owe(self, change: Ended | Doubtful) -> None:
        whose = change.owner
        try:
            self._owed.put_nowait(change)
        except asyncio.QueueFull:
            audit.error("sessions were not ended", collection_id=whose.collection_id, record_id=whose.record_id)

    async def replayed(self, principal: Principal, newest: int, address: str) -> None:
        """The store has ended the session of a token that was used again after its grace."""
        audit.warning(
            "session replayed",
            session_id=principal.session_id,
            collection_id=principal.collection_id,
            record_id=principal.record_id,
            generation=principal.generation,
            newest_generation=newest,
            client=address,
        )
        await self.tell([principal.session_id], principal.owner, "replayed")

    async def ban(self, notice: UserBanned) -> None:
        """The user has no sessions from now on, and gets none until the pardon."""
        owner = Owner(notice.collection_id, notice.subject)
        if (ended := await self._store.ban(owner.record_id, owner.collection_id, notice.until)) is None:
            return
        audit.info("user banned", record_id=owner.record_id, collection_id=owner.collection_id, until=notice.until)
        await self.tell(ended, owner, "banned")

    async def pardon(self, notice: UserPardoned) -> None:
        if await self._store.pardon(notice.subject, notice.collection_id):
            audit.info("user pardoned", record_id=notice.subject, collection_id=notice.collection_id)

    async def tell(self, session_ids: Sequence[str], owner: Owner, reason: EndReason) -> None:
        """Of sessions that the store has ended."""
        notices: list[Notice] = []
        for session_id in session_ids:
            notice = SessionRevoked(
                session_id=session_id, collection_id=owner.collection_id, record_id=owner.record_id, reason=reason
            )
            notices.append(notice)
            audit.info(
                "session ended",
                session_id=session_id,
                collection_id=owner.collection_id,
                record_id=owner.record_id,
                reason=reason,
            )
            for hearer in self._hearers:
                hearer.heard(notice)
        await self._tell_outward(notices)

    async def _tell_outward(self, notices: Sequence[Notice]) -> None:
        try:
            async with asyncio.timeout(TELL_SECONDS):
                for notice in notices:
                    await self._outward.publish(notice)
        except (UpstreamUnavailable, TimeoutError) as error:
            audit.error("other services were not told that a session ended", error=type(error).__name__)
