"""The name of a realtime client: which process holds it, and a secret that nobody guesses."""

import re
from dataclasses import dataclass

_FORM = re.compile(r"gw-([0-9a-f]{16})-([A-Za-z0-9_-]{32})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ClientId:
    worker: str
    secret: str

    def __str__(self) -> str:
        return f"gw-{self.worker}-{self.secret}"


def read_client_id(text: str) -> ClientId | None:
    """None for an id that is not the gateway's, such as PocketBase's own."""
    found = _FORM.fullmatch(text)
    return ClientId(found[1], found[2]) if found else None
