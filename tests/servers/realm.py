"""A real OpenID Connect provider (npm's oidc-provider), and users who sign in to it as browsers do."""

import base64
import hashlib
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

from tests.servers import node
from tests.servers.process import directory, free_port, server

SCRIPT = Path(__file__).with_name("realm.mjs")
CALLBACK = "http://127.0.0.1/callback"


@dataclass(frozen=True, slots=True)
class SignedIn:
    access_token: str
    id_token: str
    refresh_token: str


@dataclass(frozen=True, slots=True)
class Realm:
    issuer: str

    async def sign_in(self, name: str, client_id: str = "ChatClient") -> SignedIn:
        """Code flow with PKCE, by way of the provider's own forms."""
        verifier = secrets.token_urlsafe(32)
        asked = {
            "client_id": client_id,
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "scope": "openid offline_access chat",
            "prompt": "consent",
            "state": "state",
            "code_challenge": base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        async with httpx.AsyncClient(base_url=self.issuer, trust_env=False) as browser:
            code = await approve(browser, await browser.get("/auth", params=asked), name)
            return await self._exchange(
                browser,
                {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": verifier},
                client_id,
            )

    async def refresh(self, known: SignedIn, client_id: str = "ChatClient") -> SignedIn:
        async with httpx.AsyncClient(base_url=self.issuer, trust_env=False) as browser:
            given = {"grant_type": "refresh_token", "refresh_token": known.refresh_token}
            return await self._exchange(browser, given, client_id)

    async def _exchange(self, browser: httpx.AsyncClient, given: dict[str, str], client_id: str) -> SignedIn:
        answer = await browser.post("/token", data={**given, "client_id": client_id})
        assert answer.status_code == 200, answer.text
        told = answer.json()
        return SignedIn(told["access_token"], told["id_token"], told["refresh_token"])


async def approve(browser: httpx.AsyncClient, answer: httpx.Response, name: str) -> str:
    """Follow the provider from form to form, to the code."""
    while True:
        if answer.is_redirect:
            location = urljoin(str(answer.url), answer.headers["location"])
            if location.startswith(CALLBACK):
                return parse_qs(urlsplit(location).query)["code"][0]
            answer = await browser.get(location)
        else:
            assert answer.status_code == 200, answer.text
            is_login = 'name="login"' in answer.text
            filled = {"prompt": "login", "login": name, "password": "any"} if is_login else {"prompt": "consent"}
            answer = await browser.post(str(answer.url), data=filled)


@contextmanager
def realm(token_seconds: int = 300) -> Generator[Realm]:
    node.install()
    with directory() as home:
        port, log = free_port(), home / "realm.log"
        command = [node.program("node"), SCRIPT, str(port), str(token_seconds)]
        with server(
            command, port=port, log=log, environment={**node.environment(), "POCKETWIRE_NPM": str(node.FOLDER)}
        ):
            yield Realm(f"http://127.0.0.1:{port}")
