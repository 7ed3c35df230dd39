"""A token issuer: keys published over HTTP, with discovery, and whatever claims and failures a test asks for."""

import json
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, TypeAlias

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from common.core.tokens import SigningKey

ISSUER = "http://issuer.test"
AUDIENCE = "chathub"
JWKS, DISCOVERY = "/jwks.json", "/.well-known/openid-configuration"

Mode: TypeAlias = Literal["well", "failing", "hanging", "dripping", "redirecting", "oversized", "packed", "nonsense"]


@dataclass(slots=True)
class Publication:
    """What the issuer answers, and how often it was asked; a test may change it at any time."""

    keys: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    mode: Mode = "well"
    discovery: dict[str, Any] = field(default_factory=dict[str, Any])
    asked: Counter[str] = field(default_factory=Counter[str])
    released: threading.Event = field(default_factory=threading.Event)

    def document(self, path: str) -> bytes:
        return json.dumps({"keys": self.keys} if path == JWKS else self.discovery).encode()


@dataclass(frozen=True, slots=True)
class Issuer:
    jwks_url: str
    key: SigningKey
    publication: Publication = field(default_factory=Publication)

    @property
    def url(self) -> str:
        """Its `iss` for those who discover it."""
        return self.jwks_url.removesuffix(JWKS)

    def token(self, user: str, *roles: str, **claims: Any) -> str:
        """A session token as the gateway signs it; a claim that is given as None is left out."""
        now = int(time.time())
        full = {
            "iss": ISSUER,
            "aud": ["gateway", AUDIENCE],
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "sub": user,
            "azp": "ChatClient",
            "typ": "Bearer",
            "preferred_username": user.capitalize(),
            "realm_access": {"roles": list(roles)},
        }
        return self.key.sign({name: value for name, value in {**full, **claims}.items() if value is not None})


class RealmKey:
    """An RS256 key as a Keycloak realm has it."""

    def __init__(self, key_id: str = "realm-key") -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        numbers = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        self.public_jwk = {
            "kid": key_id,
            "kty": "RSA",
            "alg": "RS256",
            "use": "sig",
            "n": numbers["n"],
            "e": numbers["e"],
            "x5c": ["MIICnzCCAYcCBgGRlUn3ejANBgkqhkiG9w0BAQsFADATMREwDwYDVQQDDAhDaGF0"],
            "x5t": "v9cW4bDCwK9ZEmzGRM",
        }

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        return jwt.encode(claims, self._key, "RS256", headers={"kid": self.public_jwk["kid"], **header})


def keycloak_claims(issuer: str, **changes: Any) -> dict[str, Any]:
    """An access token's claims as Keycloak 26 writes them, an audience mapper for chathub included."""
    now = int(time.time())
    plain = {
        "exp": now + 300,
        "iat": now,
        "auth_time": now - 5,
        "jti": "onrtac:7e2b0c6a-5b0e-4a5e-9d0f-0d6f8f3a4b1c",
        "iss": issuer,
        "aud": [AUDIENCE, "account"],
        "sub": "f2b8f0a4-6d0c-4e6b-8f3e-7f1f0c1d2e3f",
        "typ": "Bearer",
        "azp": "ChatClient",
        "sid": "a1b2c3d4-0000-4000-8000-1234567890ab",
        "acr": "1",
        "allowed-origins": ["https://chat.example"],
        "realm_access": {"roles": ["default-roles-chatserver", "offline_access", "admin"]},
        "resource_access": {"account": {"roles": ["manage-account", "view-profile"]}},
        "scope": "openid profile email",
        "email_verified": True,
        "name": "Ann Example",
        "preferred_username": "ann",
        "given_name": "Ann",
        "family_name": "Example",
        "email": "ann@example.com",
    }
    return {name: value for name, value in {**plain, **changes}.items() if value is not None}


@contextmanager
def issuer(port: int = 0) -> Generator[Issuer]:
    key = SigningKey(b"\x07" * 32)
    publication = Publication([dict(key.public_jwk)])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            publication.asked[self.path] += 1
            answer(self, publication)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        base = f"http://127.0.0.1:{server.server_port}"
        publication.discovery.update(issuer=base, jwks_uri=base + JWKS)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield Issuer(base + JWKS, key, publication)
        finally:
            publication.released.set()
            server.shutdown()
            thread.join()


def answer(request: BaseHTTPRequestHandler, publication: Publication) -> None:
    document, status, more = publication.document(request.path), 200, dict[str, str]()
    match publication.mode:
        case "failing":
            status = 503
        case "hanging":
            publication.released.wait()
        case "redirecting":
            status, more = 302, {"Location": "http://127.0.0.1:9/elsewhere"}
        case "oversized":
            document = b'{"keys": [' + b" " * 1_000_000 + b"]}"
        case "packed":
            more = {"Content-Encoding": "gzip"}
        case "nonsense":
            document = b"<html>Welcome</html>"
        case "well" | "dripping":
            pass
    request.send_response(status)
    for name, value in {"Content-Type": "application/json", "Content-Length": str(len(document)), **more}.items():
        request.send_header(name, value)
    request.end_headers()
    write(request, document, dripping=publication.mode == "dripping", released=publication.released)


def write(request: BaseHTTPRequestHandler, document: bytes, *, dripping: bool, released: threading.Event) -> None:
    with suppress(OSError):  # whoever asked may have left
        if not dripping:
            request.wfile.write(document)
            return
        for number in range(len(document)):
            request.wfile.write(document[number : number + 1])
            if released.wait(0.05):
                return
