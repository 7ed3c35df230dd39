"""A token issuer: ES256 keys, published over HTTP, and whatever claims a test asks for."""

import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from common.core.tokens import SigningKey

ISSUER = "http://issuer.test"
AUDIENCE = "chathub"


@dataclass(frozen=True, slots=True)
class Issuer:
    jwks_url: str
    key: SigningKey

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


@contextmanager
def issuer() -> Generator[Issuer]:
    key = SigningKey(b"\x07" * 32)
    document = json.dumps({"keys": [key.public_jwk]}).encode()

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(document)))
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Keys) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield Issuer(f"http://127.0.0.1:{server.server_port}/jwks.json", key)
        finally:
            server.shutdown()
            thread.join()
