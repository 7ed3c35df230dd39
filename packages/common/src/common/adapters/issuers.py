"""Verifies access tokens of every configured issuer; keys are fetched, remembered and refreshed as needed."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httpx
import jwt
import structlog

from common.core.errors import Unauthenticated, UpstreamUnavailable
from common.core.identity import Identity
from common.core.tokens import TrustedIssuer, read_head, verify

logger = structlog.get_logger(__name__)

REFRESH_COOLDOWN_SECONDS = 10.0


@dataclass(slots=True)
class IssuerKeys:
    """One issuer's published keys. An unknown key id asks the issuer again, at most once per cooldown."""

    trusted: TrustedIssuer
    jwks_url: str
    keys: dict[str, jwt.PyJWK] = field(default_factory=dict[str, jwt.PyJWK])
    asked_at: float = float("-inf")
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class TokenVerifier:
    def __init__(self, client: httpx.AsyncClient, issuers: Sequence[IssuerKeys]) -> None:
        self._client = client
        self._issuers = {keys.trusted.issuer: keys for keys in issuers}

    async def verify(self, token: str) -> Identity:
        """Raises Unauthenticated for a token that is not acceptable, UpstreamUnavailable when its issuer is away."""
        head = read_head(token)
        issuer = self._issuers.get(head.issuer)
        if issuer is None:
            raise Unauthenticated("The token's issuer is not trusted here.")
        if head.key_id is None:
            raise Unauthenticated("The token names no key.")
        key = await self._key(issuer, head.key_id)
        return verify(token, key, issuer.trusted, time.time())

    async def ready(self) -> None:
        """Health probe: raises UpstreamUnavailable until the keys of every issuer have been read once."""
        for issuer in self._issuers.values():
            async with issuer.asking:
                if not issuer.keys:
                    await self._refresh(issuer)

    async def _key(self, issuer: IssuerKeys, key_id: str) -> jwt.PyJWK:
        if key := issuer.keys.get(key_id):
            return key
        async with issuer.asking:
            if key_id not in issuer.keys and time.monotonic() - issuer.asked_at >= REFRESH_COOLDOWN_SECONDS:
                await self._refresh(issuer)
        if key := issuer.keys.get(key_id):
            return key
        raise Unauthenticated("The token was signed by a key its issuer does not publish.")

    async def _refresh(self, issuer: IssuerKeys) -> None:
        try:
            response = await self._client.get(issuer.jwks_url)
            response.raise_for_status()
            fetched = readable_keys(response.json())
        except (httpx.HTTPError, ValueError) as error:
            logger.warning("issuer keys not fetched", issuer=issuer.trusted.issuer, error=type(error).__name__)
            raise UpstreamUnavailable("The token's issuer does not answer.") from error
        issuer.keys, issuer.asked_at = fetched, time.monotonic()


def readable_keys(document: object) -> dict[str, jwt.PyJWK]:
    """Keys by id; a key of a kind we cannot read is left out instead of spoiling the rest.

    Raises ValueError for what is no key set at all.
    """
    listed = cast(dict[str, object], document).get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("There is no list of keys.")
    entries = [cast(dict[str, Any], entry) for entry in cast(list[object], listed) if isinstance(entry, dict)]
    keys: dict[str, jwt.PyJWK] = {}
    for entry in entries:
        try:
            keys[str(entry["kid"])] = jwt.PyJWK(entry)
        except (jwt.PyJWTError, KeyError, TypeError):
            logger.info("issuer key left out", key_id=str(entry.get("kid")))
    return keys


@asynccontextmanager
async def open_verifier(issuers: Sequence[IssuerKeys]) -> AsyncGenerator[TokenVerifier]:
    async with httpx.AsyncClient(timeout=3, trust_env=False) as client:
        yield TokenVerifier(client, issuers)
