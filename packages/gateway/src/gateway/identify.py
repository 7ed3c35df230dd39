"""Who is calling: a session token of ours to the session's PocketBase token, anything else to a guest."""

import time
from dataclasses import dataclass
from typing import Protocol

from common.core.errors import Unauthenticated
from common.core.identity import Identity
from common.core.key_sets import VerificationKey
from common.core.tokens import TrustedIssuer
from gateway.core.headers import RawHeaders, bearer_token
from gateway.core.session_token import verified


@dataclass(frozen=True, slots=True)
class Caller:
    identity: Identity
    session_id: str
    pocketbase_token: str


class StoredTokens(Protocol):
    async def token_of(self, session_id: str) -> str | None:
        """Raises UpstreamUnavailable when the store is away."""
        ...


class Callers:
    def __init__(self, key: VerificationKey, trusted: TrustedIssuer, sessions: StoredTokens) -> None:
        self._key = key
        self._trusted = trusted
        self._sessions = sessions

    async def identify(self, headers: RawHeaders) -> Caller | None:
        """None for a guest. Raises UpstreamUnavailable rather than call the bearer of a good token one."""
        if (token := bearer_token(headers)) is None:
            return None
        try:
            identity = verified(token, self._key, self._trusted, time.time())
        except Unauthenticated:
            return None
        session_id = identity.session_id or ""
        stored = await self._sessions.token_of(session_id)
        return Caller(identity, session_id, stored) if stored else None
