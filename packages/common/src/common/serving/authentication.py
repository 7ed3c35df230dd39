"""Who is asking, as FastAPI dependencies: the bearer of the token in the Authorization header (RFC 6750 §2.1)."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Protocol, TypeAlias

from fastapi import Depends
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from common.core.errors import Unauthenticated
from common.core.identity import Identity, NoCredentials, require_role


class Verifier(Protocol):
    async def verify(self, token: str) -> Identity:
        """Raises Unauthenticated, or UpstreamUnavailable when it cannot be known."""
        ...


VerifierOf: TypeAlias = Callable[[HTTPConnection], Verifier]
IdentityOf: TypeAlias = Callable[[HTTPConnection], Awaitable[Identity]]


def bearer_token(connection: HTTPConnection) -> str:
    """The token of a request or a WebSocket handshake; the scheme's case is free.

    Raises NoCredentials without one, Unauthenticated for more than one header or another scheme.
    """
    given = connection.headers.getlist("authorization")
    if not given:
        raise NoCredentials("This needs an access token.")
    scheme, _, token = given[0].strip().partition(" ")
    token = token.strip()
    if len(given) > 1 or scheme.lower() != "bearer" or not token:
        raise Unauthenticated("The Authorization header is not one bearer token.")
    return token


def state_verifier(connection: HTTPConnection) -> Verifier:
    """What the application's lifespan yields as `verifier`."""
    return connection.state.verifier


class BearerIdentity(SecurityBase):
    """A dependency whose value is the caller's Identity; it also tells the OpenAPI document how to sign in.

    Raises NoCredentials, Unauthenticated or UpstreamUnavailable, which `install_error_handler` answers.
    """

    def __init__(self, verifier_of: VerifierOf = state_verifier) -> None:
        self._verifier_of = verifier_of
        self.model = HTTPBearer(bearerFormat="JWT")
        self.scheme_name = "Bearer"

    async def __call__(self, connection: HTTPConnection) -> Identity:
        return await self._verifier_of(connection).verify(bearer_token(connection))


bearer_identity = BearerIdentity()

Caller: TypeAlias = Annotated[Identity, Depends(bearer_identity)]
"""The type of a route's parameter that is the caller, verified by the lifespan's `verifier`."""


def role(name: str, identity: IdentityOf = bearer_identity) -> Callable[[Identity], Awaitable[Identity]]:
    """A dependency whose value is a caller who holds that role; raises MissingRole, a Forbidden, for others."""

    async def holder(caller: Annotated[Identity, Depends(identity)]) -> Identity:
        require_role(caller, name)
        return caller

    return holder
