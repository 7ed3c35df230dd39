"""An OpenID Connect issuer asked for ID tokens: by a user's password, or by the code that a browser has brought.

Sources: OpenID Connect Core 1.0 §3.1.3, RFC 6749 §4.1.3 and §4.3.2, RFC 7636 (PKCE).
"""

import hmac
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, cast
from urllib.parse import quote

import httpx

from common.adapters.issuers import IssuerKeys, TokenVerifier, open_verifier
from common.adapters.published_keys import DISCOVERY_PATH
from common.core.errors import Unauthenticated, UpstreamUnavailable
from common.core.identity import Identity
from common.core.pocketbase_answers import as_mapping, parsed
from common.core.tokens import TrustedIssuer
from gateway.core.route_files.answered import SecondFactorNeeded

ALGORITHMS = ("RS256", "ES256", "PS256", "EdDSA")
SECONDS = 5.0
MAX_ANSWER_BYTES = 256 * 1024
BELIEVED_SECONDS = 300.0

AWAY = "The identity provider does not answer; please retry."
REFUSED = "The identity provider refused these credentials."


class OpenIdIssuer:
    def __init__(
        self, client: httpx.AsyncClient, verifier: TokenVerifier, *, server_url: str, client_id: str, secret: str
    ) -> None:
        self._client = client
        self._verifier = verifier
        self._server_url = server_url
        self._client_id = client_id
        self._secret = secret
        self._endpoint = ""
        self._asked_at = float("-inf")

    async def granted(self, form: Mapping[str, str], *, nonce: str = "") -> Identity:
        """Who the issuer says it is. Raises Unauthenticated, SecondFactorNeeded, UpstreamUnavailable."""
        told = await self._asked(await self._token_endpoint(), form)
        token = told.get("id_token")
        if not isinstance(token, str):
            raise Unauthenticated("The identity provider gave no ID token.")
        identity = await self._verifier.verify(token)
        self._check(identity, nonce)
        return identity

    def _check(self, identity: Identity, nonce: str) -> None:
        """Raises Unauthenticated for a token that was meant for another client, or another sign-in."""
        claims, audience = identity.claims, cast(object, identity.claims["aud"])
        if "azp" in claims and claims["azp"] != self._client_id:
            raise Unauthenticated("The ID token was issued to another client.")
        if "azp" not in claims and isinstance(audience, tuple) and audience != (self._client_id,):
            raise Unauthenticated("The ID token does not say which client it is for.")
        if nonce and not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise Unauthenticated("The ID token is of another sign-in.")

    async def _token_endpoint(self) -> str:
        """As the issuer's own document says, and only the issuer's own."""
        if time.monotonic() - self._asked_at < BELIEVED_SECONDS:
            return self._endpoint
        status, told = await self._exchange("GET", f"{self._server_url.rstrip('/')}{DISCOVERY_PATH}")
        endpoint = told.get("token_endpoint")
        is_own = told.get("issuer") == self._server_url
        if status != 200 or not is_own or not isinstance(endpoint, str) or not endpoint.startswith("http"):
            raise UpstreamUnavailable(AWAY)
        self._endpoint, self._asked_at = endpoint, time.monotonic()
        return endpoint

    async def _asked(self, endpoint: str, form: Mapping[str, str]) -> dict[str, Any]:
        client = {"client_id": self._client_id}
        names = quote(self._client_id, safe=""), quote(self._secret, safe="")  # RFC 6749 §2.3.1
        auth = httpx.BasicAuth(*names) if self._secret else None
        status, told = await self._exchange("POST", endpoint, {**form, **({} if auth else client)}, auth)
        if told.get("error") == "mfa_required" and isinstance(told.get("mfa_token"), str):
            raise SecondFactorNeeded(told["mfa_token"])
        if 400 <= status < 500 and status != 429:
            raise Unauthenticated(REFUSED)
        if status != 200:
            raise UpstreamUnavailable(AWAY)
        return told

    async def _exchange(
        self, method: str, url: str, form: Mapping[str, str] | None = None, auth: httpx.BasicAuth | None = None
    ) -> tuple[int, dict[str, Any]]:
        body = bytearray()
        request = self._client.build_request(method, url, data=form, headers={"Accept-Encoding": "identity"})
        try:
            answer = await self._client.send(request, auth=auth, stream=True)
            try:
                async for chunk in answer.aiter_raw():
                    body += chunk
                    if len(body) > MAX_ANSWER_BYTES:
                        raise UpstreamUnavailable(AWAY)
            finally:
                await answer.aclose()
        except httpx.HTTPError as error:
            raise UpstreamUnavailable(AWAY) from error
        return answer.status_code, as_mapping(parsed(bytes(body)))


def no_cookies() -> CookieJar:
    """What the issuer keeps by cookie of one user is not told it with the next."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))


@asynccontextmanager
async def open_openid_issuer(server_url: str, *, client_id: str, secret: str) -> AsyncGenerator[OpenIdIssuer]:
    """Follows no redirect, and neither waits nor reads for long. The issuer may be away at any time."""
    trusted = TrustedIssuer(server_url, client_id, ALGORITHMS, is_for_sign_in=True)
    async with (
        open_verifier([IssuerKeys(trusted)], remember_tokens=0) as verifier,
        httpx.AsyncClient(timeout=SECONDS, trust_env=False, cookies=no_cookies()) as client,
    ):
        yield OpenIdIssuer(client, verifier, server_url=server_url, client_id=client_id, secret=secret)
