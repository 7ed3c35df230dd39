"""What a nats-server asks when a client logs in without credentials of its own.

Source: nats-io/jwt v2 (`authorization_claims.go`), nats-server (`auth_callout.go`). What the client sent is in the
request; nothing of it is believed here beyond its shape.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from natsync.core.claims import BadToken, read_as
from natsync.core.claims.keys import SERVER_PREFIX, KeyKind, is_public_key

AUDIENCE = "nats-authorization-request"
MAX_REQUEST_BYTES = 64 * 1024
MAX_NAME = 256


class BadRequest(ValueError):
    """Not a request that a nats-server of ours would make."""


@dataclass(frozen=True, slots=True)
class Login:
    """One client that wants in. `server` is the id of the server it has connected to, `connection` its number there.

    `token` is its bearer token, in the place of a token or of a password; `wanted` the name it gave beside a password.
    `answer_by` is in Unix seconds: later than that nobody listens.
    """

    server: str
    connection: int
    user_key: str
    host: str
    kind: str
    wanted: str
    answer_by: int
    server_curve_key: str
    token: str = field(repr=False)


def read_login(request: str, *, account: str, now: int) -> Login:
    """`account` is the one that has the callout configured. Raises BadRequest."""
    if len(request) > MAX_REQUEST_BYTES:
        raise BadRequest("longer than any request")
    try:
        claims = read_as("authorization_request", request, now=now)
    except BadToken as error:
        raise BadRequest(str(error)) from error
    body = cast(Mapping[str, Any], claims["nats"])
    server, client, options = part(body, "server_id"), part(body, "client_info"), part(body, "connect_opts")
    if claims.get("aud") != AUDIENCE or claims.get("sub") != account:
        raise BadRequest("meant for somebody else")
    if text(server, "id") != claims["iss"] or not is_public_key(claims["iss"], SERVER_PREFIX):
        raise BadRequest("signed by another server than it names")
    if not is_public_key(text(body, "user_nkey"), KeyKind.USER):
        raise BadRequest("names no user key")
    return Login(
        server=text(server, "id"),
        connection=number(client, "id"),
        user_key=text(body, "user_nkey"),
        host=text(client, "host")[:MAX_NAME],
        kind=text(client, "type")[:MAX_NAME],
        wanted=text(options, "user")[:MAX_NAME],
        answer_by=number(claims, "exp"),
        server_curve_key=text(server, "xkey"),
        token=text(options, "auth_token") or text(options, "pass"),
    )


def part(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value: object = body.get(name)
    if not isinstance(value, dict):
        raise BadRequest(f"has no {name}")
    return cast(Mapping[str, Any], value)


def text(body: Mapping[str, Any], name: str) -> str:
    value: object = body.get(name)
    return value if isinstance(value, str) else ""


def number(body: Mapping[str, Any], name: str) -> int:
    value: object = body.get(name)
    return value if type(value) is int else 0
