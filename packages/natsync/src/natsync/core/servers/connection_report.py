"""Who is connected, as an operator wants to see it. Login tokens, which servers show as well, are not kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias, cast

from natsync.core.servers.servers_said import Answer

Login: TypeAlias = Literal["credentials", "token"]


@dataclass(frozen=True, slots=True)
class Connected:
    """One connection. `server` is the server's id, `id` the connection's number there.

    `account` is its account's public key. `user` is the public key of who logged in with credentials, the name of who
    did so with an access token. `started_at` is in Unix seconds, 0 where it is not told.
    """

    server: str
    server_name: str
    id: int
    account: str
    user: str
    login: Login
    issuer: str
    name: str
    kind: str
    address: str
    language: str
    version: str
    started_at: float
    subscriptions: int
    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int
    pending_bytes: int


def read_connected(answer: Answer) -> list[Connected]:
    """From a server's CONNZ; what has no number is left out."""
    listed = cast("dict[str, Any]", answer.data).get("connections") if isinstance(answer.data, dict) else None
    entries = [cast("dict[str, Any]", one) for one in cast("list[Any]", listed or []) if isinstance(one, dict)]
    return [to_connected(answer, entry) for entry in entries if number(entry, "cid")]


def to_connected(answer: Answer, entry: Mapping[str, Any]) -> Connected:
    return Connected(
        server=answer.server.id,
        server_name=answer.server.name,
        id=number(entry, "cid"),
        account=text(entry, "account"),
        user=text(entry, "authorized_user"),
        login="credentials" if text(entry, "jwt") else "token",  # servers keep no token of whom a callout admits
        issuer=text(entry, "issuer_key"),
        name=text(entry, "name"),
        kind=text(entry, "type"),
        address=f"{text(entry, 'ip')}:{number(entry, 'port')}",
        language=text(entry, "lang"),
        version=text(entry, "version"),
        started_at=moment(text(entry, "start")),
        subscriptions=number(entry, "subscriptions"),
        messages_in=number(entry, "in_msgs"),
        messages_out=number(entry, "out_msgs"),
        bytes_in=number(entry, "in_bytes"),
        bytes_out=number(entry, "out_bytes"),
        pending_bytes=number(entry, "pending_bytes"),
    )


def moment(written: str) -> float:
    """Go's RFC 3339, whose nanoseconds are more digits than `fromisoformat` of every Python version takes."""
    whole, _, fraction = written.removesuffix("Z").partition(".")
    try:
        return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")
    except ValueError:
        return 0.0


def text(entry: Mapping[str, Any], name: str) -> str:
    value: object = entry.get(name)
    return value[:256] if isinstance(value, str) else ""


def number(entry: Mapping[str, Any], name: str) -> int:
    value: object = entry.get(name)
    return value if type(value) is int else 0
