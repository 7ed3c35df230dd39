"""One issuer's keys as it publishes them: found by discovery, fetched within bounds, kept while it is away.

Sources: OpenID Connect Discovery 1.0 §4, RFC 8414, RFC 7517.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import httpx
import orjson
import structlog

from common.core.errors import Unauthenticated, UpstreamUnavailable
from common.core.key_refresh import KeyRefresh, RefreshTerms
from common.core.key_sets import VerificationKey, read_key_set
from common.core.tokens import TrustedIssuer

logger = structlog.get_logger(__name__)

MAX_DOCUMENT_BYTES = 256 * 1024
DISCOVERY_PATH = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class IssuerKeys:
    """Whom to trust, and where its keys are read.

    With `jwks_url` there is no discovery; it may be an internal address while `issuer` is the public one. Without, the
    discovery document at `discovery_url`, by default the issuer's own, names it. `keys` are known beforehand: for an
    issuer that has some, nothing is fetched.
    """

    trusted: TrustedIssuer
    jwks_url: str = ""
    discovery_url: str = ""
    keys: tuple[VerificationKey, ...] = ()

    @property
    def discovered_at(self) -> str:
        return self.discovery_url or self.trusted.issuer.rstrip("/") + DISCOVERY_PATH


class UnfitDocument(Exception):
    """An issuer answered with something that cannot be used."""


class PublishedKeys:
    """Keys of one issuer. Many who wait share one fetch, and none of them ends it by leaving."""

    def __init__(
        self,
        source: IssuerKeys,
        client: httpx.AsyncClient,
        *,
        terms: RefreshTerms,
        deadline_seconds: float,
        on_change: Callable[[str], None],
    ) -> None:
        self._source = source
        self._client = client
        self._deadline_seconds = deadline_seconds
        self._on_change = on_change
        self._refresh = KeyRefresh(terms)
        self._keys: Mapping[str, VerificationKey] = {key.key_id: key for key in source.keys}
        self._fetching: asyncio.Task[None] | None = None

    @property
    def trusted(self) -> TrustedIssuer:
        return self._source.trusted

    async def key(self, key_id: str) -> VerificationKey:
        """Raises Unauthenticated for a key the issuer does not publish, UpstreamUnavailable when it cannot be asked."""
        if self._source.keys:
            return self._published(key_id)
        step = self._refresh.step(is_known=key_id in self._keys, now=time.monotonic())
        if step == "wait":
            await asyncio.wait((self.fetch_soon(),))
            step = self._refresh.step(is_known=key_id in self._keys, now=time.monotonic(), has_waited=True)
        if step == "use and refresh":
            self.fetch_soon()
        if step == "away":
            raise UpstreamUnavailable("The token's issuer does not answer.")
        return self._published(key_id)

    async def ready(self) -> bool:
        """Whether there are keys that may be believed; asks the issuer for them if it may be asked."""
        if self._source.keys or self._refresh.has_keys(time.monotonic()):
            return True
        if self._refresh.step(is_known=False, now=time.monotonic()) == "wait":
            await asyncio.wait((self.fetch_soon(),))
        return self._refresh.has_keys(time.monotonic())

    def fetch_soon(self) -> asyncio.Task[None]:
        """The fetch that is under way, or a new one. It never fails; what came of it is seen by its effect."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch())  # noqa: TID251 - held here, ended by `close`
        return self._fetching

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait((self._fetching,))

    def _published(self, key_id: str) -> VerificationKey:
        if key := self._keys.get(key_id):
            return key
        raise Unauthenticated("The token was signed by a key its issuer does not publish.")

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(self._deadline_seconds):
                keys, faults = await fetch_keys(self._client, self._source)
        except Exception as error:  # noqa: BLE001 - whatever an issuer's answer breaks, its old keys still serve
            self._refresh.failed(time.monotonic())
            logger.warning("issuer keys not fetched", issuer=self.trusted.issuer, error=reason(error))
            return
        has_changed = keys != self._keys
        self._keys = keys
        self._refresh.succeeded(time.monotonic(), has_changed=has_changed)
        if has_changed:
            logger.info("issuer keys fetched", issuer=self.trusted.issuer, keys=len(keys), left_out=faults)
            self._on_change(self.trusted.issuer)


def reason(error: Exception) -> str:
    return str(error) if isinstance(error, UnfitDocument) else type(error).__name__


async def fetch_keys(client: httpx.AsyncClient, source: IssuerKeys) -> tuple[dict[str, VerificationKey], list[str]]:
    """Raises UnfitDocument or httpx.HTTPError."""
    url = source.jwks_url or await discover(client, source)
    try:
        return read_key_set(await fetch_json(client, url))
    except ValueError as error:
        raise UnfitDocument(str(error)) from error


async def discover(client: httpx.AsyncClient, source: IssuerKeys) -> str:
    """The address of the key set. A document that is about another issuer is not believed (Discovery §4.3)."""
    document = await fetch_json(client, source.discovered_at)
    if not isinstance(document, dict):
        raise UnfitDocument("The discovery document is no object.")
    found = cast(dict[str, object], document)
    if found.get("issuer") != source.trusted.issuer:
        raise UnfitDocument("The discovery document is about another issuer.")
    url = found.get("jwks_uri")
    secure = source.discovered_at.startswith("https:")
    if not isinstance(url, str) or not url.startswith("https:" if secure else ("https:", "http:")):
        raise UnfitDocument("The discovery document names no key set (jwks_uri) that is as secure as itself.")
    return url


async def fetch_json(client: httpx.AsyncClient, url: str) -> object:
    """One answer of 200, whole within MAX_DOCUMENT_BYTES; redirects are not followed."""
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}  # what is packed has no bounds
    async with client.stream("GET", url, headers=headers, follow_redirects=False) as response:
        if response.status_code != 200 or "content-encoding" in response.headers:
            raise UnfitDocument(f"It answered with status {response.status_code}.")
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_DOCUMENT_BYTES:
                raise UnfitDocument(f"It answered with more than {MAX_DOCUMENT_BYTES} bytes.")
    with suppress(orjson.JSONDecodeError):
        return orjson.loads(body)
    raise UnfitDocument("It answered with something that is not JSON.")
