"""An OpenID Connect issuer with a token endpoint: passwords, codes with PKCE, and second factors.

Its name ends in a slash, and it gives everybody a cookie.
"""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from common.core.tokens import SigningKey

CLIENT, SECRET = "gateway-client", "client secret"
MFA_GRANT = "http://auth0.com/oauth/grant-type/mfa-otp"


@dataclass(slots=True)
class Person:
    """`claims` are those of the ID token beside the usual ones; a claim that is None is left out."""

    password: str
    claims: dict[str, Any] = field(default_factory=dict[str, Any])
    code: str = ""
    needs_second_factor: bool = False


@dataclass(slots=True)
class IdentityServer:
    url: str = ""
    key: SigningKey = field(default_factory=lambda: SigningKey(b"\x09" * 32))
    signs_with: SigningKey | None = None
    people: dict[str, Person] = field(default_factory=dict[str, Person])
    challenges: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    forms: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    cookies: list[str] = field(default_factory=list[str])
    """Those that came with grants."""
    is_away: bool = False

    @property
    def name(self) -> str:
        return f"{self.url}/"

    def begin(self, name: str, verifier: str) -> str:
        """What the browser would bring back: a code, bound to the challenge of that verifier."""
        digest = hashlib.sha256(verifier.encode()).digest()
        code = f"code-{len(self.challenges)}"
        self.challenges[code] = (name, base64.urlsafe_b64encode(digest).rstrip(b"=").decode())
        return code

    def token(self, name: str) -> str:
        now = int(time.time())
        claims = {
            "iss": self.name,
            "aud": CLIENT,
            "sub": f"sub-{name}",
            "iat": now,
            "exp": now + 300,
            "preferred_username": name,
            "email": f"{name}@issuer.example",
            "email_verified": True,
            **self.people[name].claims,
        }
        key = self.signs_with or self.key
        return key.sign({name: value for name, value in claims.items() if value is not None})

    def granted(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.forms.append(form)
        refused = 400, {"error": "invalid_grant"}
        match form.get("grant_type"):
            case "password":
                return self._by_password(form) or refused
            case "authorization_code":
                name, challenge = self.challenges.pop(form.get("code", ""), ("", ""))
                digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
                is_same = base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == challenge
                return (200, {"id_token": self.token(name)}) if name and is_same else refused
            case grant if grant == MFA_GRANT:
                person = self.people.get(form.get("mfa_token", "").removeprefix("mfa-"))
                name = form["mfa_token"].removeprefix("mfa-")
                is_right = person is not None and form.get("otp") == person.code
                return (200, {"id_token": self.token(name)}) if is_right else refused
            case _:
                return 400, {"error": "unsupported_grant_type"}

    def _by_password(self, form: dict[str, str]) -> tuple[int, dict[str, Any]] | None:
        name = form.get("username", "")
        person = self.people.get(name)
        if person is None:
            return None
        has_code = bool(person.code) and form.get("otp") == person.code
        if form.get("password") != person.password and not (has_code and "password" not in form):
            return None
        if person.needs_second_factor and not has_code:
            return 403, {"error": "mfa_required", "mfa_token": f"mfa-{name}"}
        return 200, {"id_token": self.token(name)}

    def answer(self, path: str, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        if self.is_away:
            return 503, {}
        match path:
            case "/.well-known/openid-configuration":
                return 200, {
                    "issuer": self.name,
                    "jwks_uri": f"{self.url}/jwks.json",
                    "token_endpoint": f"{self.url}/token",
                }
            case "/jwks.json":
                return 200, {"keys": [dict(self.key.public_jwk)]}
            case "/token":
                expected = base64.b64encode(f"{CLIENT}:{SECRET.replace(' ', '%20')}".encode()).decode()
                is_client = authorization == f"Basic {expected}"
                return self.granted(form) if is_client else (401, {"error": "invalid_client"})
            case _:
                return 404, {}


@contextmanager
def identity_server() -> Generator[IdentityServer]:
    served = IdentityServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.tell({})

        def do_POST(self) -> None:
            served.cookies += self.headers.get_all("Cookie", [])
            length = int(self.headers.get("Content-Length", "0"))
            self.tell(dict(parse_qsl(self.rfile.read(length).decode())))

        def tell(self, form: dict[str, str]) -> None:
            status, told = served.answer(self.path, form, self.headers.get("Authorization", ""))
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Set-Cookie", "visitor=1; Path=/")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
