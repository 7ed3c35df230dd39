"""Who is calling: a session token of ours to the session's PocketBase token, anything else to a guest."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from common.core.errors import Unauthenticated
from common.core.key_sets import VerificationKey
from common.core.notices import Notice, SessionRevoked, UserBanned
from common.core.tokens import TrustedIssuer
from gateway.core.front_door.headers import RawHeaders, bearer_token
from gateway.core.refusals import SessionEnded
from gateway.core.sessions.known_callers import Known, KnownCallers
from gateway.core.sessions.principal import Principal
from gateway.core.sessions.session import Held, Owner, Presented, Use
from gateway.core.sessions.session_token import principal_of, verified
from gateway.sessions.ask_pocketbase import Asking
from gateway.sessions.end import Endings

BELIEVED_SECONDS = 10.0
NOTE_SECONDS = 60.0
NEWEST = 2**53 - 1
"""A generation that none will ever be newer than."""


class PresentingStore(Protocol):
    async def present(self, session_id: str, generation: int) -> Presented:
        """Raises UpstreamUnavailable when the store is away."""
        ...


class Hearing(Protocol):
    @property
    def heard_until(self) -> float:
        """Seconds of `time.monotonic` before which every ending of a session is heard of in time."""
        ...


class Following(Protocol):
    @property
    def is_current(self) -> bool:
        """Are changes in PocketBase heard of, so that what it says stays true until something is heard?"""
        ...


class Noting(Protocol):
    def note(self, use: Use) -> None: ...


class TokenCheck:
    """What a token of this gateway must be."""

    def __init__(self, key: VerificationKey, trusted: TrustedIssuer) -> None:
        self._key = key
        self._trusted = trusted

    def principal(self, token: str, now: float) -> Principal:
        """The bearer, by the token alone. Raises Unauthenticated."""
        return principal_of(verified(token, self._key, self._trusted, now))


@dataclass(frozen=True, slots=True)
class Confirming:
    """How it is found out whether PocketBase still takes a session's token."""

    asking: Asking
    following: Following


class Callers:
    """Remembers who it has asked for, and is a Hearer of what ends that, and of changes in PocketBase.

    A session is believed to live for at most the grace: so long the token may go on being used anyhow after another
    process has rolled it. While endings are not heard of, nothing is believed, and the store is asked each time.

    Its token is confirmed by PocketBase once, and again when its record has changed or changes may have been missed:
    whoever is not `is_confirmed` must not be given what is kept for him.
    """

    def __init__(
        self,
        check: TokenCheck,
        sessions: PresentingStore,
        endings: Endings,
        hearing: Hearing,
        uses: Noting,
        *,
        confirming: Confirming,
        max_known: int,
        grace_seconds: float,
        is_strict: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._check = check
        self._sessions = sessions
        self._endings = endings
        self._hearing = hearing
        self._uses = uses
        self._confirming = confirming
        self._known = KnownCallers(max_known)
        self._believed_seconds = min(grace_seconds, BELIEVED_SECONDS)
        self._is_strict = is_strict
        self._clock = clock
        self._wall_clock = wall_clock

    async def identify(self, headers: RawHeaders, *, address: str = "", may_be_stale: bool = False) -> Principal | None:
        """None for a guest, as whoever brings an unknown, expired or replayed token is, unless tokens are strict.

        `may_be_stale` is for calls to which clients send old tokens without meaning them, such as sign-ins. Raises
        SessionEnded in strict mode, and UpstreamUnavailable rather than call the bearer of a good token a guest.
        """
        if (token := bearer_token(headers)) is None:
            return None
        principal = self.known(token, address) or await self._asked(token, address)
        if principal and not may_be_stale and not self.is_confirmed(principal):
            principal = await self._confirmed(principal, address)
        if principal is None and self._is_strict and not may_be_stale:
            raise SessionEnded
        return principal

    async def again(self, admitted: Principal, token: str, address: str) -> Principal:
        """Whoever was admitted by that token, later in the same request: the token may have been succeeded long ago.

        Raises SessionEnded, and UpstreamUnavailable.
        """
        principal = self.known(token, address) or await self._still_there(admitted)
        if not self.is_confirmed(principal):
            principal = await self._confirmed(principal, address)
        if principal is None:
            raise SessionEnded
        return principal

    async def _still_there(self, admitted: Principal) -> Principal:
        told = await self._sessions.present(admitted.session_id, NEWEST)
        if told.standing == "ended":
            raise SessionEnded
        return replace(admitted, pocketbase_token=told.pocketbase_token)

    def known(self, token: str, address: str = "") -> Principal | None:
        """The bearer of a token that is known to be good without asking anybody; None says nothing."""
        now = self._clock()
        known = self._known.get(token)
        if known is None or now >= known.until or now >= self._hearing.heard_until:
            return None
        if now >= known.note_at:
            self._note(known, now, address)
        return known.principal

    def is_confirmed(self, principal: Principal) -> bool:
        return self._known.is_confirmed(principal.session_id)

    def account_changed(self, owner: Owner) -> None:
        self._known.doubt_record(owner.record_id)

    def changes_missed(self) -> None:
        self._known.doubt_tokens()

    def heard(self, notice: Notice) -> None:
        match notice:
            case SessionRevoked():
                self._known.forget_session(notice.session_id)
            case UserBanned():
                self._known.forget_record(notice.subject, notice.collection_id)
            case _:
                pass

    def missed(self) -> None:
        self._known.doubt_all()

    async def _asked(self, token: str, address: str) -> Principal | None:
        if (known := self._verified(token)) is None:
            return None
        principal, asked_at, epoch = known.principal, self._clock(), self._known.epoch
        told = await self._sessions.present(principal.session_id, principal.generation)
        if told.standing == "replayed":
            await self._endings.replayed(principal, told.newest, address)
        if told.standing in ("ended", "replayed"):
            self._known.drop(token)
            return None
        if principal.pocketbase_token != told.pocketbase_token:
            principal = replace(principal, pocketbase_token=told.pocketbase_token)
        if told.standing == "current" and asked_at < self._hearing.heard_until:
            lasts_seconds = min(self._believed_seconds, principal.expires_at - self._wall_clock())
            self._known.believe(known, principal, until=asked_at + lasts_seconds, epoch=epoch)
        self._note(known, asked_at, address)
        return principal

    async def _confirmed(self, principal: Principal, address: str) -> Principal | None:
        """None when PocketBase does not take his token any more, which ends the session. Where it does not say, he may
        go on: it will be asked with his token whatever he wants."""
        if not self._confirming.following.is_current:
            return principal
        doubts = self._known.doubts
        held = Held(principal.session_id, principal.owner, principal.pocketbase_token, address)
        word = await self._confirming.asking.ask(held)
        if word == "refused":
            await self._endings.refused(held)
            return None
        if word == "taken":
            self._known.confirm(principal.session_id, doubts=doubts)
        return principal

    def _verified(self, token: str) -> Known | None:
        """Signatures are remembered, since they stay true; times are looked at anew."""
        now = self._wall_clock()
        if known := self._known.get(token):
            return known if now < known.principal.expires_at else None
        try:
            return self._known.put(token, self._check.principal(token, now))
        except Unauthenticated:
            return None

    def _note(self, known: Known, now: float, address: str) -> None:
        if now >= known.note_at:
            known.note_at = now + NOTE_SECONDS
            self._uses.note(Use(known.principal.session_id, round(self._wall_clock() * 1000), address))
