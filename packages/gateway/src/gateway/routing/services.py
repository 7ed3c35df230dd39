"""What routes may ask beside the database: who somebody is, by whichever provider is configured."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from common.core.errors import Forbidden, InvalidRequest, NotFound, Unauthenticated
from gateway.core.front_door.headers import RawHeaders
from gateway.core.route_files.answered import SecondFactorNeeded
from gateway.core.route_files.authentication import Authentication, Credentials, credentials_of
from gateway.core.route_files.database_call import DatabaseCall
from gateway.routing.database import Calls

USERS = "users"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who wants to sign in: his request's headers, where it comes from, and calls to PocketBase in his name."""

    calls: Calls
    headers: RawHeaders = ()
    address: str = ""


class Provider(Protocol):
    """Who knows users and their secrets."""

    async def authenticate(self, credentials: Credentials, visitor: Visitor) -> Authentication:
        """Raises SecondFactorNeeded, an InvalidRequest or Unauthenticated for what is refused, UpstreamUnavailable."""
        ...


class Services:
    """Made in the server's loop, where the provider is asked, whichever loop a route runs in."""

    def __init__(self, provider: Provider, visitor: Visitor) -> None:
        self._provider = provider
        self._visitor = visitor
        self._server = asyncio.get_running_loop()

    async def authenticate(self, request: Mapping[str, Any] | None = None, **fields: Any) -> Authentication:
        """Signs in by `type`: `password`, `oauth`, `otp` or `mfa`. Who is refused is not authenticated; nothing raises
        for that. Raises RateLimited, UpstreamUnavailable.
        """
        given = {**(request or {}), **fields}
        try:
            credentials = credentials_of(given, str(given.get("collection") or USERS))
            asking = self._provider.authenticate(credentials, self._visitor)
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asking, self._server))
        except SecondFactorNeeded as error:
            return Authentication(mfa_id=error.mfa_id, message=str(error))
        except (InvalidRequest, Unauthenticated, Forbidden, NotFound) as error:
            return Authentication(message=str(error))


class ByPocketBase:
    """PocketBase itself, by the calls that its SDKs make."""

    async def authenticate(self, credentials: Credentials, visitor: Visitor) -> Authentication:
        match credentials.strategy:
            case "password" | "mfa" if credentials.text("password") and not credentials.text("otpId", "otp_id"):
                return await self._password(credentials, visitor)
            case "otp" | "mfa":
                return await self._one_time(credentials, visitor)
            case "oauth":
                return await self._oauth(credentials, visitor)
            case "password":
                raise InvalidRequest("password: Cannot be blank.")

    async def _password(self, credentials: Credentials, visitor: Visitor) -> Authentication:
        fields = {"identity": credentials.identity, "password": credentials.text("password")}
        return await signed_in(credentials, visitor, "auth-with-password", fields)

    async def _one_time(self, credentials: Credentials, visitor: Visitor) -> Authentication:
        """Without the password that was sent, one is asked for."""
        otp_id = credentials.text("otpId", "otp_id")
        if not otp_id:
            fields = {"email": credentials.identity}
            told = await visitor.calls.call(DatabaseCall("sign-in", credentials.collection, "request-otp", fields))
            return Authentication(otp_id=str(told.get("otpId", "")))
        fields = {"otpId": otp_id, "password": credentials.text("password", "otp", "code")}
        return await signed_in(credentials, visitor, "auth-with-otp", fields)

    async def _oauth(self, credentials: Credentials, visitor: Visitor) -> Authentication:
        fields = {
            "provider": credentials.text("provider"),
            "code": credentials.text("code"),
            "codeVerifier": credentials.text("codeVerifier", "code_verifier"),
            "redirectURL": credentials.text("redirectURL", "redirectUrl", "redirect_url"),
        }
        return await signed_in(credentials, visitor, "auth-with-oauth2", fields)


async def signed_in(
    credentials: Credentials, visitor: Visitor, endpoint: str, fields: Mapping[str, Any]
) -> Authentication:
    """The session token that the gateway gives out is what stands in the answer."""
    mfa_id = credentials.text("mfaId", "mfa_id")
    asked = {**fields, "mfaId": mfa_id} if mfa_id else dict(fields)
    told = await visitor.calls.call(DatabaseCall("sign-in", credentials.collection, endpoint, asked))
    return Authentication(True, str(told.get("token", "")), told.get("record", {}))
