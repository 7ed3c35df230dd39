"""One bootstrapped platform for the tests that do not stop its servers."""

import threading
from collections.abc import AsyncGenerator, Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson
import pytest

from common.core.tokens import SigningKey
from tests.servers.natsync import ISSUER, Stack, Tenants, running_stack, tenants_of


@pytest.fixture(scope="package")
def signing_key() -> SigningKey:
    return SigningKey(b"\x07" * 32)


@pytest.fixture(scope="package")
def jwks_url(signing_key: SigningKey) -> Generator[str]:
    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(orjson.dumps({"keys": [signing_key.public_jwk]}))

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Keys) as issuer:
        thread = threading.Thread(target=issuer.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{issuer.server_port}/jwks"
        issuer.shutdown()
        thread.join()


@pytest.fixture(scope="package")
def natsync(jwks_url: str) -> Generator[Stack]:
    with running_stack(issuer=ISSUER, jwks_url=jwks_url) as running:
        yield running


@pytest.fixture
async def tenants(natsync: Stack) -> AsyncGenerator[Tenants]:
    async with tenants_of(natsync) as made:
        yield made
