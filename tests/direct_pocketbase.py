"""Servers asked over one kept connection, exactly as written: hundreds of questions a second."""

import http.client
import itertools
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.servers.pocketbase import PocketBaseServer


@dataclass(frozen=True, slots=True)
class Answer:
    """`cache` is what X-Cache says."""

    status: int
    body: bytes
    cache: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Asking:
    """PocketBase delays an address that finds nothing again and again; every question has one of its own."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self._addresses = (f"10.{a}.{b}.{c}" for a, b, c in itertools.product(range(250), repeat=3))

    def ask(
        self,
        target: str,
        token: str = "",
        *,
        method: str = "GET",
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        sent = {"X-Forwarded-For": next(self._addresses), **(headers or {})}
        if token:
            sent["Authorization"] = token
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            sent["Content-Type"] = "application/json"
        self._connection.request(method, target, body=content, headers=sent)
        response = self._connection.getresponse()
        return Answer(response.status, response.read(), response.getheader("X-Cache") or "")


class DirectPocketBase(Asking):
    """`ask` is for anybody; `control` for the superuser, of whom nothing may be refused."""

    _superuser = ""

    def sign_in(self, email: str, password: str) -> None:
        body = {"identity": email, "password": password}
        self._superuser = self.control("POST", "/api/collections/_superusers/auth-with-password", body)["token"]
        self.control("PATCH", "/api/settings", {"trustedProxy": {"headers": ["X-Forwarded-For"]}})

    def tries(self, method: str, target: str, body: object = None) -> Answer:
        """The superuser asks, and may be refused."""
        return self.ask(target, self._superuser, method=method, body=body)

    def control(self, method: str, target: str, body: object = None) -> Any:
        answer = self.tries(method, target, body)
        if answer.status >= 400:
            raise AssertionError(f"{method} {target}: {answer.body!r}")
        return answer.json if answer.body else None

    def rows(self) -> list[dict[str, Any]]:
        """The schema, as the gateway reads it."""
        return self.control("GET", "/api/collections?perPage=500")["items"]


class _Unchecked(http.client.HTTPConnection):
    """Lets control characters into a target: what PocketBase makes of them is what is asked."""

    def _validate_path(self, url: str) -> None:
        pass


@contextmanager
def asking(server: PocketBaseServer) -> Generator[DirectPocketBase]:
    address = urlsplit(server.url)
    connection = _Unchecked(address.hostname or "", address.port, timeout=30)
    try:
        direct = DirectPocketBase(connection)
        direct.sign_in(server.email, server.password)
        yield direct
    finally:
        connection.close()
