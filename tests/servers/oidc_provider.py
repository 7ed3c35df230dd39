"""npm's `oidc-provider` as a process, which people sign in at with any name."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx

from tests.servers import node
from tests.servers.process import directory, free_port, server

SCRIPT = Path(__file__).with_suffix(".mjs")
_ACTION = re.compile(r'<form[^>]* action="([^"]+)"')
_HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="(\w+)"')


@dataclass(frozen=True, slots=True)
class OidcProvider:
    url: str

    def settings(self) -> dict[str, Any]:
        """For `oauth2` of an auth collection."""
        oidc = {
            "name": "oidc",
            "clientId": "pocketwire",
            "clientSecret": "a-secret-of-the-provider-and-pocketbase",
            "authURL": f"{self.url}/auth",
            "tokenURL": f"{self.url}/token",
            "userInfoURL": f"{self.url}/me",
            "pkce": True,
        }
        return {"enabled": True, "providers": [oidc]}


@contextmanager
def oidc_provider(*redirects: str) -> Generator[OidcProvider]:
    node.install()
    port = free_port()
    command = [node.program("node"), SCRIPT, str(port), *redirects]
    with (
        directory() as home,
        server(command, port=port, log=home / "provider.log", environment=node.environment()),
    ):
        yield OidcProvider(f"http://127.0.0.1:{port}")


async def signed_in_at(provider: OidcProvider, url: str, name: str) -> str:
    """What somebody's browser does until the provider sends it back: the address that it is sent to."""
    async with httpx.AsyncClient(timeout=20) as browser:
        answer = await browser.get(url)
        while True:
            while answer.is_redirect:
                where = urljoin(str(answer.url), answer.headers["location"])
                if not where.startswith(provider.url):
                    return where
                answer = await browser.get(where)
            action = _ACTION.search(answer.text)
            assert action, answer.text
            fields = {**dict(_HIDDEN.findall(answer.text)), "login": name, "password": "any"}
            answer = await browser.post(urljoin(str(answer.url), unescape(action[1])), data=fields)
