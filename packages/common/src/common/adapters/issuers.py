"""Verifies access tokens of every configured issuer, and remembers for a while which it has verified."""

import hashlib
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import httpx

from common.adapters.published_keys import IssuerKeys, PublishedKeys
from common.core.errors import Unauthenticated, UpstreamUnavailable
from common.core.identity import Identity
from common.core.key_refresh import RefreshTerms
from common.core.tokens import MAX_TOKEN_BYTES, InvalidTerms, accept, read_token
from common.core.verified_tokens import Revocations, VerifiedTokens
from common.task_group import TaskGroup

__all__ = ["IssuerKeys", "TokenVerifier", "open_verifier"]

FETCH_SECONDS = 3.0


class TokenVerifier:
    """Tokens to identities. Close it when it is done with, or use `open_verifier`.

    A token that was verified is answered for from memory for `remember_seconds`, but never past its expiry, its
    issuer's change of keys, or its revocation. At most `remember_tokens` are remembered; 0 remembers none.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        issuers: Sequence[IssuerKeys],
        *,
        refresh: RefreshTerms | None = None,
        fetch_seconds: float = FETCH_SECONDS,
        remember_tokens: int = 10_000,
        remember_seconds: float = 60.0,
    ) -> None:
        self._verified = VerifiedTokens(max_entries=remember_tokens, max_age_seconds=remember_seconds)
        self._revocations = Revocations()
        self._issuers: dict[str, PublishedKeys] = {}
        for source in issuers:
            if source.trusted.issuer in self._issuers:
                raise InvalidTerms(f"issuer: {source.trusted.issuer} is listed twice")
            self._issuers[source.trusted.issuer] = PublishedKeys(
                source,
                client,
                terms=refresh or RefreshTerms(),
                deadline_seconds=fetch_seconds,
                on_change=self._verified.forget_issuer,
            )

    async def verify(self, token: str) -> Identity:
        """Raises Unauthenticated for a token that is not acceptable, UpstreamUnavailable when its issuer is away.

        Does not suspend for a token that is remembered.
        """
        return self.cached(token) or await self._verify_anew(token)

    def cached(self, token: str) -> Identity | None:
        """The bearer of a token that is remembered. Raises Unauthenticated for one that was revoked since."""
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            return None
        now = time.time()
        identity = self._verified.get(hashlib.sha256(token.encode()).digest(), now)
        if identity is not None and self._revocations:
            self._check_revocation(identity, now)
        return identity

    async def ready(self) -> None:
        """Health probe: raises UpstreamUnavailable, with their names, while there are issuers without keys."""
        missing: list[str] = []

        async def ask(issuer: str, keys: PublishedKeys) -> None:
            if not await keys.ready():
                missing.append(issuer)

        async with TaskGroup() as tasks:
            for issuer, keys in self._issuers.items():
                tasks.create_task(ask(issuer, keys))
        if missing:
            raise UpstreamUnavailable(f"No keys yet of {', '.join(sorted(missing))}.")

    def revoke_session(self, session_id: str, *, until: float) -> None:
        """Refuse tokens of that `sid` from now on. `until`, in Unix seconds, is when the last of them expires."""
        self._revocations.revoke_session(session_id, until=until, now=time.time())

    def revoke_subject(self, subject: str, *, issued_before: float, until: float) -> None:
        """Refuse tokens of that `sub` with an earlier `iat`, which counts in whole seconds, or with none."""
        self._revocations.revoke_subject(subject, issued_before=issued_before, until=until, now=time.time())

    def pardon_subject(self, subject: str) -> None:
        """Take `revoke_subject` back."""
        self._revocations.pardon_subject(subject)

    def fetch_soon(self) -> None:
        """Ask every issuer for its keys before the first token comes."""
        for keys in self._issuers.values():
            keys.fetch_soon()

    async def close(self) -> None:
        for keys in self._issuers.values():
            await keys.close()

    async def _verify_anew(self, token: str) -> Identity:
        unverified = read_token(token)
        issuer = self._issuers.get(unverified.issuer)
        if issuer is None:
            raise Unauthenticated("The token's issuer is not trusted here.")
        key = await issuer.key(unverified.key_id)
        now = time.time()
        identity = accept(unverified, key, issuer.trusted, now)
        self._check_revocation(identity, now)
        digest = hashlib.sha256(token.encode()).digest()
        self._verified.put(digest, identity, now=now, leeway_seconds=issuer.trusted.leeway_seconds)
        return identity

    def _check_revocation(self, identity: Identity, now: float) -> None:
        if self._revocations.covers(identity, now):
            raise Unauthenticated("The session has ended.")


@asynccontextmanager
async def open_verifier(
    issuers: Sequence[IssuerKeys],
    *,
    refresh: RefreshTerms | None = None,
    fetch_seconds: float = FETCH_SECONDS,
    remember_tokens: int = 10_000,
    remember_seconds: float = 60.0,
) -> AsyncGenerator[TokenVerifier]:
    """A verifier that begins at once to read the issuers' keys; each may be absent at start and go away at any time."""
    limits = httpx.Limits(max_connections=2 * len(issuers) or 1, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=fetch_seconds, limits=limits, trust_env=False) as client:
        verifier = TokenVerifier(
            client,
            issuers,
            refresh=refresh,
            fetch_seconds=fetch_seconds,
            remember_tokens=remember_tokens,
            remember_seconds=remember_seconds,
        )
        verifier.fetch_soon()
        try:
            yield verifier
        finally:
            await verifier.close()
